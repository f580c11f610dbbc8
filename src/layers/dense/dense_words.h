/* Words of two bf16 factors for the dot product of pairs (LS_PAIRS, core/real.h): the first factor of a pair
 * in the upper half; behind an odd number of terms a 0. */
#ifndef LOCKSTEP_LAYERS_DENSE_WORDS_H
#define LOCKSTEP_LAYERS_DENSE_WORDS_H

#include "core/real.h"
#include "core/shards.h"

#if LS_PAIRS

static inline int64_t ls_dense_words(int64_t terms) {
    return (terms + 1) / 2;
}

/* Elements between rows of words that are made of so many terms. */
static inline int64_t ls_dense_words_row(int64_t terms) {
    return (terms + 31) / 32 * 32;
}

/* x [rows][x_row] -> to [rows][ls_dense_words_row(inputs)], pairs of neighbours among the inputs of the list
 * `term` (increasing). mask: room for inputs / 16 + 1. */
void LS_NAME(ls_dense_pair_terms)(const float *x, int64_t rows, int64_t x_row, int64_t inputs,
                                  const int32_t *term, int64_t terms, uint32_t *mask, float *to);
/* x [rows][x_row], n of each row -> to [rows][to_row], to_row at least ls_dense_words(n). */
void LS_NAME(ls_dense_pair_neighbours)(const float *x, int64_t rows, int64_t x_row, int64_t n, float *to,
                                       int64_t to_row);
/* Rows term[0], term[1], .. of w, columns [0, columns) -> to [ls_dense_words(terms)][to_row]. */
void LS_NAME(ls_dense_pair_rows)(const float *w, int64_t w_row, const int32_t *term, int64_t terms,
                                 int64_t columns, float *to, int64_t to_row);
/* x [rows][columns] of all local rows: to [rows][columns], the pairs of a shard's rows from its first row on.
 */
void LS_NAME(ls_dense_pair_shards)(const ls_shards *shards, const float *x, int64_t columns, float *to);

#endif
#endif
