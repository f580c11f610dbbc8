/* Winograd's F(2x2, 3x3) and F(4x4, 3x3) for the vector kernels of the convolution (A. Lavin and S. Gray,
 * Fast Algorithms for Convolutional Neural Networks, 2016): 16 products for the 2x2 pixels of a tile, or 36
 * for 4x4, where the direct sums take 36 and 144.
 *
 *     y = A^T [(G w G^T) (B^T x B)] A,   dw = G^T [(B^T x B) (A dy A^T)] G,   products element by element.
 *
 * Matrices and the order of all sums are in conv2d.h, the transforms in winograd_tile.h. The elements of a
 * transformed tile are its positions, in lines of t + 2. Tiles are those of several images, one image after
 * the other, line by line. Whatever is kept for each position has a cache line of padding behind it: at a
 * distance of a power of two the positions of a tile would compete for a few places of the first cache. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WINOGRAD_H
#define LOCKSTEP_LAYERS_CONV2D_WINOGRAD_H

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/conv2d_tiles.h"

static inline int64_t winograd_positions(const ls_conv2d_args *a) {
    return (winograd_tile(a) + 2) * (winograd_tile(a) + 2);
}

/* Tiles across an image of y or, transposed, dx', and in it. */
static inline int64_t winograd_across(const ls_conv2d_args *a, bool transposed) {
    return divide_up(transposed ? a->width : a->out_width, winograd_tile(a));
}
static inline int64_t winograd_tiles(const ls_conv2d_args *a, bool transposed) {
    return winograd_across(a, transposed) *
           divide_up(transposed ? a->height : a->out_height, winograd_tile(a));
}

/* Lines [first, last) of an image. */
typedef struct ls_conv2d_lines {
    int64_t image, first, last;
} ls_conv2d_lines;

/* Those of line i of all tiles of several images. */
static inline ls_conv2d_lines winograd_lines(const ls_conv2d_args *a, bool transposed, int64_t i) {
    const int64_t t = winograd_tile(a), height = transposed ? a->height : a->out_height;
    const int64_t in_image = divide_up(height, t), first = i % in_image * t;
    return (ls_conv2d_lines){i / in_image, first, smaller(first + t, height)};
}

/* Floats of the transformed weights of either direction. */
static inline int64_t ls_conv2d_winograd_weights_size(const ls_conv2d_args *a) {
    return winograd_positions(a) * LANES *
           larger(ls_conv2d_groups(a->inputs) * a->outputs, ls_conv2d_groups(a->outputs) * a->inputs);
}

/* The weights as [panels][positions][terms][16]: columns are outputs and terms inputs, or, transposed for
 * dx', the other way round and the kernel turned by half a turn. */
void LS_NAME(ls_conv2d_winograd_weights)(const ls_conv2d_args *a, bool transposed, float *to);

/* The products of several images: y from x', or dx' from dy. */
typedef struct ls_conv2d_winograd {
    const float *from; /* planes, side by side */
    const float *weights;
    float *room;      /* ls_conv2d_winograd_room() floats */
    float *to;        /* y [pixels][outputs], or dx' [pixels][groups][16], of the first image */
    int64_t to_image; /* floats between images */
    int64_t images;
    ls_conv2d_ahead *ahead; /* moves on */
    int64_t done;           /* tiles: 0; moves on */
} ls_conv2d_winograd;

int64_t LS_NAME(ls_conv2d_winograd_room)(const ls_conv2d_args *a);

/* How many images are worth being taken together, where only y, or dx', is computed. */
int64_t LS_NAME(ls_conv2d_winograd_images)(const ls_conv2d_args *a, bool transposed);

/* How often all passes over so many images move `ahead` on. */
int64_t LS_NAME(ls_conv2d_winograd_steps)(const ls_conv2d_args *a, bool transposed, int64_t images);

/* Computes a few more tiles, of those that are not done. */
void LS_NAME(ls_conv2d_winograd_pass)(const ls_conv2d_args *a, bool transposed, ls_conv2d_winograd *p);

/* --- weight gradient (conv2d_winograd_weights.c) ----------------------------------------------- */

/* Floats from the sums of one position of a shard to those of the next, and of all. */
static inline int64_t winograd_sums_step(const ls_conv2d_args *a) {
    return ls_conv2d_groups(a->inputs) * ls_conv2d_groups(a->outputs) * LANES * LANES + LANES;
}
static inline int64_t ls_conv2d_winograd_sums_size(const ls_conv2d_args *a) {
    return winograd_positions(a) * winograd_sums_step(a);
}
int64_t LS_NAME(ls_conv2d_winograd_gradient_room)(const ls_conv2d_args *a);

/* Adds the products of x' and dy of so many images (at most images_together()), planes side by side, to the
 * transformed sums, or, of the `first` images of a shard, to 0. ahead: moves on. */
void LS_NAME(ls_conv2d_winograd_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                              int64_t images, bool first, float *room, float *sums,
                                              ls_conv2d_ahead *ahead);

/* How often they move `ahead` on. */
int64_t LS_NAME(ls_conv2d_winograd_gradient_steps)(const ls_conv2d_args *a, int64_t images);

/* The weights' part of a shard's sums (conv2d_layout.h) from the transformed ones. */
void LS_NAME(ls_conv2d_winograd_finish_gradient)(const ls_conv2d_args *a, const float *sums, float *to);

#endif
