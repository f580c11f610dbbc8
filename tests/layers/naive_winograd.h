/* Winograd's F(2x2, 3x3) and F(4x4, 3x3), slow and obvious, for the kernels of the convolution that are
 * computed by them (layers/conv2d/conv2d.h): in fp32, to the bit, and how far that may be from the sum itself.
 *
 * The bound is that of any sum whose terms go through n roundings each: u = 2^-24,
 *     |computed - exact| <= n u / (1 - n u) times the same algorithm with absolute values throughout, by its
 *     matrices.
 * F(2x2): a pixel goes through 2 roundings on its way into a tile and a weight through 4, a product through as
 * many as there are inputs, and a sum through 4 on its way out: n = inputs + 10; for the weight gradient, where
 * dy goes through 2, tiles + 8. F(4x4): 4, 6 (its scale and the product with it are two) and 6: n = inputs +
 * 16; for the weight gradient, 4 for dy and 8 on the way out, tiles + 16. Products with 2, 4 and 8 are exact. */
#ifndef LOCKSTEP_TESTS_LAYERS_NAIVE_WINOGRAD_H
#define LOCKSTEP_TESTS_LAYERS_NAIVE_WINOGRAD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/real.h"

typedef struct winograd_shape {
    int64_t height, width, inputs, out_height, out_width, outputs, pad;
    int tile; /* 2 or 4: pixels of a line of a tile of y */
} winograd_shape;

/* y of a row, or, back, dx' from dy, [pixels][channels]; bound: how far each may be from the sum. At most 96
 * inputs and outputs. */
void naive_winograd(winograd_shape s, bool back, const real *weight, const real *from, real *to,
                    double *bound);

/* dw of so many rows; as above. */
void naive_winograd_gradient(winograd_shape s, int64_t rows, const real *x, const real *dy, real *dweight,
                             double *bound);

#endif
