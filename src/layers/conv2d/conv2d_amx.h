/* The products of the convolution on AMX's tiles (core/tiles.h), for kernels of 3x3 with stride 1. A tile of
 * a is sixteen pixels (or nearly, of a line) by 32 channels of a tap; of a plane with sixteen channels, whose
 * pixels stand 32 bytes apart, by two neighbouring taps. So nothing is copied: the rows of a tile overlap in
 * the plane. */
#ifndef LOCKSTEP_LAYERS_CONV2D_AMX_H
#define LOCKSTEP_LAYERS_CONV2D_AMX_H

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/conv2d_tiles.h"

enum { LS_CONV2D_AMX_WORDS = 16 }; /* of a step: 32 channels */

/* Is this convolution computed on tiles in AMX's tier? Otherwise it is as in the tier below. */
static inline bool ls_conv2d_on_tiles(const ls_conv2d_args *a) {
    const bool inputs = a->inputs == 16 || a->inputs % 32 == 0,
               outputs = a->outputs == 16 || a->outputs % 32 == 0;
    return a->kernel_h == 3 && a->kernel_w == 3 && a->stride == 1 && inputs && outputs;
}

/* In how many steps a sum over all taps of so many channels is taken. */
static inline int64_t ls_conv2d_amx_steps(int64_t channels) {
    return channels == 16 ? 3 * 2 : 9 * (channels / 32);
}

/* These steps, of taps from the top left on, from a place in the plane; returns how many. */
static inline int64_t ls_conv2d_amx_add_steps(const ls_conv2d_plane *plane, int64_t from,
                                              ls_conv2d_step *step) {
    const int64_t count = ls_conv2d_plane_words(plane), taps_together = count < LS_CONV2D_AMX_WORDS ? 2 : 1;
    const ls_conv2d_step *begin = step;
    for (int64_t u = 0; u < 3; u++)
        for (int64_t v = 0; v < 3; v += taps_together) {
            const int64_t all =
                smaller(taps_together, 3 - v) * count; /* words side by side, or of all groups */
            const int64_t at = from + u * ls_conv2d_plane_line(plane) + v * ls_conv2d_plane_pixel(plane);
            for (int64_t c = 0; c < all; c += LS_CONV2D_AMX_WORDS)
                *step++ =
                    (ls_conv2d_step){.from = at + c / LS_CONV2D_AMX_WORDS * ls_conv2d_plane_group(plane),
                                     .weights = ((u * 3 + v) * count + c) * LANES,
                                     .count = smaller(LS_CONV2D_AMX_WORDS, all - c)};
        }
    return step - begin;
}

/* The thread's tiles for ls_conv2d_multiply with lines of so many pixels, until they are released; no others
 * need any. */
#if LS_TILES
void LS_NAME(ls_conv2d_open_tiles)(int64_t pixels);
void LS_NAME(ls_conv2d_close_tiles)(void);
#else
static inline void LS_NAME(ls_conv2d_open_tiles)(int64_t pixels) {
    (void)pixels;
}
static inline void LS_NAME(ls_conv2d_close_tiles)(void) {}
#endif

/* Floats of room for a gradient. */
int64_t LS_NAME(ls_conv2d_amx_gradient_room)(const ls_conv2d_args *a);
/* Adds the products of x' (plane_of_x) and dy (pixels_of_dy) of so many images, planes side by side, to the
 * sums of a shard, which are [panels][taps][groups of inputs][16 outputs][16 inputs] until they are finished.
 */
void LS_NAME(ls_conv2d_amx_add_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                         int64_t images, float *room, float *sums);
void LS_NAME(ls_conv2d_amx_finish_gradient)(const ls_conv2d_args *a, float *sums);

#endif
