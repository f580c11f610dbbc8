/* Sums in the order of AMX's tier (layers/dense/dense.h, layers/conv2d/conv2d.h), by loops over their terms.
 */
#ifndef LOCKSTEP_TESTS_AMX_NAIVE_TILES_H
#define LOCKSTEP_TESTS_AMX_NAIVE_TILES_H

#include <stdint.h>

/* sum, and one step of n terms a[i a_next] b[i b_next], rounded to bf16. */
float naive_step(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n, float sum);
/* The same with n terms in steps of 32. */
float naive_tile_sum(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n, float sum);

/* A convolution of 3x3 with stride 1. */
typedef struct tile_shape {
    int64_t height, width, inputs, out_height, out_width, outputs, pad;
} tile_shape;

/* One row: y of x, or dx' of dy. */
void naive_tile_forward(tile_shape s, const float *weight, const float *x, float *y);
void naive_tile_backward(tile_shape s, const float *weight, const float *dy, float *dx);
/* dw of so many rows. */
void naive_tile_gradient(tile_shape s, int64_t rows, const float *x, const float *dy, float *dweight);

#endif
