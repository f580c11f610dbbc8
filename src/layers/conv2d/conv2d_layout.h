/* How the vector kernels of the convolution lay out images and weights. */
#ifndef LOCKSTEP_LAYERS_CONV2D_LAYOUT_H
#define LOCKSTEP_LAYERS_CONV2D_LAYOUT_H

#include <stdbool.h>

#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_passes.h"

enum { LANES = 16 };

/* Fewer inputs or outputs than that: the transforms cost more than they save. */
enum { LS_CONV2D_WINOGRAD_CHANNELS = 16 };

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static inline int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Rounded towards minus infinity. */
static inline int64_t divide_down(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -divide_up(-a, b);
}

static inline int64_t taps(const ls_conv2d_args *a) {
    return a->kernel_h * a->kernel_w;
}

/* Is this convolution computed by Winograd's algorithm (conv2d_winograd.h)? Only where its products, of tiles
 * that may hang over, and transforms are fewer than those of the direct one. */
static inline bool is_winograd(const ls_conv2d_args *a) {
#ifdef LS_BF16 /* whose factors must be rounded as they are, not their sums */
    return false;
#endif
    if (a->kernel_h != 3 || a->kernel_w != 3 || a->stride != 1) return false;
    if (a->inputs < LS_CONV2D_WINOGRAD_CHANNELS || a->outputs < LS_CONV2D_WINOGRAD_CHANNELS) return false;
    const int64_t y_tiles = divide_up(a->out_height, 2) * divide_up(a->out_width, 2);
    const int64_t x_tiles = divide_up(a->height, 2) * divide_up(a->width, 2);
    return 6 * (y_tiles + x_tiles) <= 2 * (a->out_height * a->out_width + a->height * a->width);
}

/* Lines (or pixels) of a plane that tiles of `size` lines read, from the first that they read. */
static inline int64_t winograd_reach(int64_t size) {
    return divide_up(size, 2) * 2 + 2;
}

static inline ls_conv2d_plane plane_of_x(const ls_conv2d_args *a) {
    const bool tiles = is_winograd(a);
    const int64_t lines =
        tiles ? winograd_reach(a->out_height) : (a->out_height - 1) * a->stride + a->kernel_h;
    int64_t columns = tiles ? winograd_reach(a->out_width) : (a->out_width - 1) * a->stride + a->kernel_w;
    if (LS_TILES) columns = divide_up(columns, 2) * 2; /* pairs of pixels go on over the ends of lines */
    return (ls_conv2d_plane){.height = a->height,
                             .width = a->width,
                             .channels = a->inputs,
                             .top = a->pad,
                             .left = a->pad,
                             .lines = larger(a->pad + a->height, lines),
                             .columns = divide_up(larger(a->pad + a->width, columns), a->stride),
                             .phases = a->stride};
}

/* The same for the forward pass, which wants pairs of channels. */
static inline ls_conv2d_plane channels_of_x(const ls_conv2d_args *a) {
    ls_conv2d_plane plane = plane_of_x(a);
    plane.channel_pairs = LS_PAIRS;
    return plane;
}

/* Pixel h of dx' reads lines (h + pad - u) / stride of dy, some of them outside. */
static inline ls_conv2d_plane plane_of_dy(const ls_conv2d_args *a) {
    const int64_t top = larger(0, -divide_down(a->pad - a->kernel_h + 1, a->stride));
    const int64_t left = larger(0, -divide_down(a->pad - a->kernel_w + 1, a->stride));
    ls_conv2d_plane plane = {.height = a->out_height,
                             .width = a->out_width,
                             .channels = a->outputs,
                             .top = top,
                             .left = left,
                             .lines = top + larger(a->out_height, (a->height - 1 + a->pad) / a->stride + 1),
                             .columns = left + larger(a->out_width, (a->width - 1 + a->pad) / a->stride + 1),
                             .phases = 1,
                             .channel_pairs = LS_PAIRS};
    if (!is_winograd(a)) return plane;
    /* tiles of dx' from line top + pad - 2 on, and whole tiles of dy for the weight gradient */
    plane.lines = top + larger(a->pad - 2 + winograd_reach(a->height), divide_up(a->out_height, 2) * 2);
    plane.columns = left + larger(a->pad - 2 + winograd_reach(a->width), divide_up(a->out_width, 2) * 2);
    return plane;
}

/* What the weight gradient reads of dy: the same, or the pairs of pixels. */
static inline ls_conv2d_plane pixels_of_dy(const ls_conv2d_args *a) {
    if (!LS_PAIRS) return plane_of_dy(a);
    return (ls_conv2d_plane){.height = a->out_height,
                             .width = a->out_width,
                             .channels = a->outputs,
                             .lines = a->out_height,
                             .columns = divide_up(a->out_width, 2),
                             .phases = 1};
}

/* How many words hold so many terms of a sum. */
static inline int64_t words(int64_t terms) {
    return LS_PAIRS ? divide_up(terms, 2) : terms;
}

static inline int64_t packed_panel(const ls_conv2d_args *a, bool transposed) {
    return taps(a) * words(transposed ? a->outputs : a->inputs) * LANES;
}

static inline int64_t packed_size(const ls_conv2d_args *a, bool transposed) {
    return ls_conv2d_groups(transposed ? a->inputs : a->outputs) * packed_panel(a, transposed);
}

/* Of a shard: the weights' as [panels][taps][inputs][16], then the bias's as [panels][16]. */
static inline int64_t weight_elements(const ls_conv2d_args *a) {
    return ls_conv2d_groups(a->outputs) * taps(a) * a->inputs * LANES;
}

static inline int64_t shard_elements(const ls_conv2d_args *a) {
    return weight_elements(a) + ls_conv2d_groups(a->outputs) * LANES;
}

#endif
