/* Sums in the order of AMX's tier (layers/dense/dense.h), by loops over their terms. */
#ifndef LOCKSTEP_TESTS_AMX_NAIVE_TILES_H
#define LOCKSTEP_TESTS_AMX_NAIVE_TILES_H

#include <stdint.h>

/* sum, and one step of n terms a[i a_next] b[i b_next], rounded to bf16. */
float naive_step(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n, float sum);
/* From 0, n terms in steps of 32. */
float naive_tile_sum(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n);

#endif
