#include "layers/dense/dense_words.h"

#ifdef LS_BF16

#include "layers/dense/dense_tile.h"

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

void LS_NAME(ls_dense_round_terms)(const float *x, int64_t rows, int64_t x_row, int64_t inputs,
                                   const int32_t *term, int64_t terms, uint32_t *mask, float *to) {
    const int64_t groups = (inputs + LANES - 1) / LANES;
    for (int64_t g = 0; g < groups; g++) mask[g] = 0;
    for (int64_t i = 0; i < terms; i++) mask[term[i] / LANES] |= 1u << term[i] % LANES;
    for (int64_t row = 0; row < rows; row++, x += x_row, to += ls_dense_words_row(inputs)) {
        float *next = to;
        for (int64_t g = 0; g < groups; g++) {
            const lanes some = (lanes)mask[g];
            store(next, _mm512_maskz_compress_ps(some, load_lanes(x + g * LANES, some)));
            next += __builtin_popcount(mask[g]);
        }
        round_row(to, terms, to);
    }
}

#else

ALWAYS_INLINE void round_row(const float *from, int64_t n, float *to) {
    for (int64_t i = 0; i < n; i += LANES) {
        const lanes some = first_lanes(smaller(LANES, n - i));
        store_lanes(to + i, some, word(load_lanes(from + i, some), broadcast(0)));
    }
}

void LS_NAME(ls_dense_round_terms)(const float *x, int64_t rows, int64_t x_row, int64_t inputs,
                                   const int32_t *term, int64_t terms, uint32_t *mask, float *to) {
    (void)mask;
    for (int64_t row = 0; row < rows; row++, x += x_row, to += ls_dense_words_row(inputs)) {
        for (int64_t i = 0; i < terms; i++) to[i] = x[term[i]];
        round_row(to, terms, to);
    }
}

#endif

void LS_NAME(ls_dense_round_rows)(const float *x, int64_t rows, int64_t x_row, int64_t n, float *to,
                                  int64_t to_row) {
    for (int64_t row = 0; row < rows; row++) round_row(x + row * x_row, n, to + row * to_row);
}

ALWAYS_INLINE void round_columns(const float *first, const float *second, int64_t columns, float *to) {
    for (int64_t j = 0; j < columns; j += LANES) {
        const lanes some = first_lanes(smaller(LANES, columns - j));
        const vec b = second ? load_lanes(second + j, some) : broadcast(0);
        store_lanes(to + j, some, word(load_lanes(first + j, some), b));
    }
}

void LS_NAME(ls_dense_round_chosen)(const float *w, int64_t w_row, const int32_t *term, int64_t terms,
                                    int64_t columns, float *to, int64_t to_row) {
    for (int64_t t = 0; t < terms; t += LS_DENSE_WORD, to += to_row)
        round_columns(w + term[t] * w_row, t + 1 < terms ? w + term[t + 1] * w_row : NULL, columns, to);
}

void LS_NAME(ls_dense_round_pairs)(const float *x, int64_t rows, int64_t columns, float *to) {
    for (int64_t i = 0; i < rows; i += LS_DENSE_WORD, x += LS_DENSE_WORD * columns, to += columns)
        round_columns(x, i + 1 < rows ? x + columns : NULL, columns, to);
}

#endif
