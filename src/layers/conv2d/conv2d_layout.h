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

/* Tiles of t x t pixels in y and x. */
static inline int64_t sized_tiles(const ls_conv2d_args *a, int64_t t) {
    return divide_up(a->out_height, t) * divide_up(a->out_width, t) +
           divide_up(a->height, t) * divide_up(a->width, t);
}

/* The side of the tiles of y by which this convolution is computed (conv2d_winograd.h): 4 where F(4x4, 3x3)
 * has fewer products, of tiles that may hang over, and transforms than F(2x2, 3x3); else 2 where that has
 * fewer than the direct convolution; else 0. By shape alone. */
static inline int64_t winograd_tile(const ls_conv2d_args *a) {
    if (a->winograd == 0 || a->kernel_h != 3 || a->kernel_w != 3 || a->stride != 1) return 0;
    if (a->inputs < LS_CONV2D_WINOGRAD_CHANNELS || a->outputs < LS_CONV2D_WINOGRAD_CHANNELS) return 0;
    const int64_t pixels = a->out_height * a->out_width + a->height * a->width;
    if (a->winograd == 4 && 45 * sized_tiles(a, 4) <= 16 * sized_tiles(a, 2)) return 4;
    return 6 * sized_tiles(a, 2) <= 2 * pixels ? 2 : 0;
}

/* Kernels of pairs and tiles have only direct sums, and are not asked for others. */
static inline bool is_winograd(const ls_conv2d_args *a) {
    return !LS_PAIRS && winograd_tile(a) != 0;
}

/* Lines (or pixels) of a plane that tiles of `size` lines read, from the first that they read. */
static inline int64_t winograd_reach(const ls_conv2d_args *a, int64_t size) {
    return divide_up(size, winograd_tile(a)) * winograd_tile(a) + 2;
}

static inline ls_conv2d_plane plane_of_x(const ls_conv2d_args *a) {
    const bool tiles = is_winograd(a);
    const int64_t lines =
        tiles ? winograd_reach(a, a->out_height) : (a->out_height - 1) * a->stride + a->kernel_h;
    int64_t columns = tiles ? winograd_reach(a, a->out_width) : (a->out_width - 1) * a->stride + a->kernel_w;
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
    plane.lines =
        top + larger(a->pad - 2 + winograd_reach(a, a->height), winograd_reach(a, a->out_height) - 2);
    plane.columns =
        left + larger(a->pad - 2 + winograd_reach(a, a->width), winograd_reach(a, a->out_width) - 2);
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
