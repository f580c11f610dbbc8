/* The weight gradient of the vector kernels of the convolution: the backward pass adds it up for every shard,
 * and the pieces over parts add those of the shards. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WEIGHTS_H
#define LOCKSTEP_LAYERS_CONV2D_WEIGHTS_H

#include "layers/conv2d/conv2d_layout.h"

/* Pixels whose products are added while the sums of a tile are in registers. */
enum { LS_CONV2D_GRADIENT_PIXELS = 200 };

/* Images whose products are added to the weight gradient together: there is room for their planes. */
static inline int64_t images_together(const ls_conv2d_args *a) {
    enum { MAX_IMAGES = 8 };
    const int64_t pixels = LS_CONV2D_GRADIENT_PIXELS * (is_winograd(a) ? 2 : 1);
    const int64_t images = pixels / (a->out_height * a->out_width);
    return images < 1 ? 1 : smaller(images, MAX_IMAGES);
}

/* Lines of y whose products are added while the sums of a tile are in registers. */
static inline int64_t gradient_lines(const ls_conv2d_args *a) {
    return larger(1, LS_CONV2D_GRADIENT_PIXELS / a->out_width);
}

/* Floats in which the sum of an image waits that is taken in several pieces. */
static inline int64_t gradient_room(const ls_conv2d_args *a) {
    return !LS_TILES && gradient_lines(a) < a->out_height ? weight_elements(a) : 0;
}

/* Adds the sums of x' (plane_of_x) times dy (pixels_of_dy) of so many images, planes side by side, one after
 * the other to those of a shard (conv2d_layout.h). room: gradient_room() floats. */
void LS_NAME(ls_conv2d_add_weight_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                            int64_t images, float *room, float *sums);

/* As ls_conv2d_kernels has them. */
int64_t LS_NAME(ls_conv2d_weight_grad_parts)(const ls_conv2d_args *a);
size_t LS_NAME(ls_conv2d_weight_grad_scratch)(void);
void LS_NAME(ls_conv2d_weight_grad)(const ls_conv2d_args *a, const ls_shards *shards, int64_t first,
                                    int64_t last, const ls_lane *lane);

#endif
