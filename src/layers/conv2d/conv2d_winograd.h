/* Winograd's F(2x2, 3x3) for the vector kernels of the convolution (A. Lavin and S. Gray, Fast Algorithms for
 * Convolutional Neural Networks, 2016): 16 products instead of 36 for the 2x2 outputs of a tile.
 *
 *     y = A^T [(G w G^T) (B^T x B)] A,   dw = G^T [(B^T x B) (A dy A^T)] G,   products element by element,
 *
 *           | 1  0 -1  0 |         | 1    0    0  |           | 1  0 |
 *     B^T = | 0  1  1  0 |     G = | 1/2  1/2 1/2 |       A = | 1  1 |
 *           | 0 -1  1  0 |         | 1/2 -1/2 1/2 |           | 1 -1 |
 *           | 0 -1  0  1 |         | 0    0    1  |           | 0  1 |
 *
 * The sixteen elements of a transformed tile are its positions, four lines of four. The order of all sums is
 * in conv2d.h. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WINOGRAD_H
#define LOCKSTEP_LAYERS_CONV2D_WINOGRAD_H

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/conv2d_tiles.h"

/* Floats of the transformed weights of either direction. */
static inline int64_t ls_conv2d_winograd_weights_size(const ls_conv2d_args *a) {
    return 16 * LANES *
           larger(ls_conv2d_groups(a->inputs) * a->outputs, ls_conv2d_groups(a->outputs) * a->inputs);
}

/* The weights as [panels][lines of positions][terms][positions of the line][16]: columns are outputs and
 * terms inputs, or, transposed for dx', the other way round and the kernel turned by half a turn. */
void LS_NAME(ls_conv2d_winograd_weights)(const ls_conv2d_args *a, bool transposed, float *to);

typedef struct ls_conv2d_winograd {
    const float *from;      /* plane of x', or of dy */
    const float *weights;   /* transformed, and transposed for dx' */
    float *room;            /* ls_conv2d_winograd_room() floats */
    float *to;              /* y [pixels][outputs], or dx' [pixels][groups][16], of an image */
    ls_conv2d_ahead *ahead; /* moves on */
    int64_t runs;           /* of tiles, since the image began: 0; moves on */
} ls_conv2d_winograd;

int64_t LS_NAME(ls_conv2d_winograd_room)(const ls_conv2d_args *a);

/* How many lines are computed together: an even number, of tiles that few runs share without rest. */
static inline int64_t ls_conv2d_winograd_lines(int64_t width) {
    enum { TILES = 21 };
    return 2 * larger(1, TILES / divide_up(width, 2));
}

/* How often an image moves `ahead` on. */
int64_t LS_NAME(ls_conv2d_winograd_steps)(const ls_conv2d_args *a, bool transposed);

/* Lines [first, last) of y, or of dx': the next ls_conv2d_winograd_lines(), or as many as there are. */
void LS_NAME(ls_conv2d_winograd_multiply)(const ls_conv2d_args *a, bool transposed, ls_conv2d_winograd *p,
                                          int64_t first, int64_t last);

/* --- weight gradient (conv2d_winograd_weights.c) ----------------------------------------------- */

/* Floats of the sums of a shard, transformed, and of what products are made of. */
static inline int64_t ls_conv2d_winograd_sums_size(const ls_conv2d_args *a) {
    return ls_conv2d_groups(a->inputs) * ls_conv2d_groups(a->outputs) * 16 * LANES * LANES;
}
int64_t LS_NAME(ls_conv2d_winograd_gradient_room)(const ls_conv2d_args *a);

/* Adds the products of x' and dy of so many images, planes side by side, to the transformed sums. ahead:
 * moves on. */
void LS_NAME(ls_conv2d_winograd_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                              int64_t images, float *room, float *sums,
                                              ls_conv2d_ahead *ahead);

/* How often they move `ahead` on. */
int64_t LS_NAME(ls_conv2d_winograd_gradient_steps)(const ls_conv2d_args *a, int64_t images);

/* The weights' part of a shard's sums (conv2d_layout.h) from the transformed ones. */
void LS_NAME(ls_conv2d_winograd_finish_gradient)(const ls_conv2d_args *a, const float *sums, float *to);

#endif
