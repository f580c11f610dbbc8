/* Packing of what the products read. Factors are floats: with LS_BF16 rounded to bf16, and with LS_PAIRS
 * (core/real.h) words of two, the first of a pair in the upper half, and behind an odd number of terms a 0. A
 * float counts as a word here. */
#ifndef LOCKSTEP_LAYERS_DENSE_WORDS_H
#define LOCKSTEP_LAYERS_DENSE_WORDS_H

#include <stdint.h>

#include "core/real.h"

enum { LS_DENSE_WORD = LS_PAIRS ? 2 : 1 }; /* terms in a word */

static inline int64_t ls_dense_words(int64_t terms) {
    return (terms + LS_DENSE_WORD - 1) / LS_DENSE_WORD;
}

/* Rows term[0], term[1], .. of b, or 0, 1, .. without a list, columns [0, columns) -> to
 * [ls_dense_words(terms)][width], in words of two rows; 0 in the rest of a vector. */
void LS_NAME(ls_dense_pack_terms)(const float *b, int64_t b_term, const int32_t *term, int64_t terms,
                                  int64_t columns, float *to, int64_t width);

#ifdef LS_BF16

/* Words between rows that are made of so many terms. */
static inline int64_t ls_dense_words_row(int64_t terms) {
    return (terms + 31) / 32 * 32;
}

/* x [rows][x_row] -> to [rows][ls_dense_words_row(inputs)], the inputs of the list `term` (increasing), in
 * words of neighbours. */
void LS_NAME(ls_dense_round_terms)(const float *x, int64_t rows, int64_t x_row, int64_t inputs,
                                   const int32_t *term, int64_t terms, float *to);
/* x [rows][x_row], n of each row -> to [rows][to_row], in words of neighbours; to_row at least
 * ls_dense_words(n). */
void LS_NAME(ls_dense_round_rows)(const float *x, int64_t rows, int64_t x_row, int64_t n, float *to,
                                  int64_t to_row);

#endif
#endif
