#include "layers/dense/dense_words.h"

#include "layers/dense/dense_tile.h"

void LS_NAME(ls_dense_pack_terms)(const float *b, int64_t b_term, const int32_t *term, int64_t terms,
                                  int64_t columns, float *to, int64_t width) {
    for (int64_t t = 0; t < terms; t += LS_DENSE_WORD, to += width) {
        const bool pair = LS_PAIRS && t + 1 < terms;
        const float *first = b + (term ? term[t] : t) * b_term;
        const float *second = pair ? b + (term ? term[t + 1] : t + 1) * b_term : first;
        for (int64_t j = 0; j < columns; j += LANES) {
            const lanes some = first_lanes(smaller(LANES, columns - j));
            store(to + j,
                  word(load_lanes(first + j, some), pair ? load_lanes(second + j, some) : broadcast(0)));
        }
    }
}

#ifdef LS_BF16

#if LS_PAIRS

/* Words of neighbours among 32 numbers. */
ALWAYS_INLINE vec neighbours(vec low, vec high) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    return _mm512_castsi512_ps(_mm512_ror_epi32(both, 16));
}

/* Of n numbers in a row; behind them nothing is read or written. to may be from. */
ALWAYS_INLINE void round_row(const float *from, int64_t n, float *to) {
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        store(to + i / 2, neighbours(load(from + i), load(from + i + LANES)));
    if (i == n) return;
    const int64_t left = n - i;
    const vec low = load_lanes(from + i, first_lanes(smaller(LANES, left)));
    const vec high = left > LANES ? load_lanes(from + i + LANES, first_lanes(left - LANES)) : broadcast(0);
    store_lanes(to + i / 2, first_lanes((left + 1) / 2), neighbours(low, high));
}

#else

ALWAYS_INLINE void round_row(const float *from, int64_t n, float *to) {
    for (int64_t i = 0; i < n; i += LANES) {
        const lanes some = first_lanes(smaller(LANES, n - i));
        store_lanes(to + i, some, word(load_lanes(from + i, some), broadcast(0)));
    }
}

#endif

void LS_NAME(ls_dense_round_terms)(const float *x, int64_t rows, int64_t x_row, int64_t inputs,
                                   const int32_t *term, int64_t terms, float *to) {
    for (int64_t row = 0; row < rows; row++, x += x_row, to += ls_dense_words_row(inputs)) {
        for (int64_t i = 0; i < terms; i += LANES)
            store(to + i, gather(x, term + i, smaller(LANES, terms - i)));
        round_row(to, terms, to);
    }
}

void LS_NAME(ls_dense_round_rows)(const float *x, int64_t rows, int64_t x_row, int64_t n, float *to,
                                  int64_t to_row) {
    for (int64_t row = 0; row < rows; row++) round_row(x + row * x_row, n, to + row * to_row);
}

#endif
