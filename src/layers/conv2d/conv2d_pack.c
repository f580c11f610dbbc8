#include "layers/conv2d/conv2d_pack.h"

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/sixteen.h"

/* n columns of a term. */
ALWAYS_INLINE sixteen load_columns(const float *w, int64_t n, int64_t by_column) {
    float column[LANES] = {0};
    if (by_column == 1) return n == LANES ? load16(w) : load16_first(w, n);
    for (int64_t j = 0; j < n; j++) column[j] = w[j * by_column];
    return load16(column);
}

void LS_NAME(ls_conv2d_pack_weights)(const ls_conv2d_args *a, bool transposed, float *to) {
    const float *weight = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    for (int64_t column = 0; column < columns; column += LANES)
        for (int64_t tap = 0; tap < taps(a); tap++) {
            const int64_t place = LS_TILES && transposed ? taps(a) - 1 - tap : tap;
            const float *w = weight + place * a->inputs * a->outputs + column * by_column;
            const int64_t n = smaller(LANES, columns - column);
#if LS_PAIRS
            for (int64_t t = 0; t < terms; t += 2, to += LANES) {
                const sixteen first = load_columns(w + t * by_term, n, by_column);
                const sixteen second =
                    t + 1 < terms ? load_columns(w + (t + 1) * by_term, n, by_column) : zero16();
                store16(to, pair16(round16(first), round16(second)));
            }
#else
            for (int64_t t = 0; t < terms; t++, to += LANES)
                store16(to, factor16(load_columns(w + t * by_term, n, by_column)));
#endif
        }
}
