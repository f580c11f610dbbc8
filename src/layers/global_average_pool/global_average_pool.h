/* Full average pooling of report 1, [height][width][channels] -> [channels]: y[c] = (sum of x[p][c]) /
 * pixels, and every pixel gets dy[c] / pixels. The sum is in double from 0 over the pixels in row-major
 * order, y rounded once. */
#ifndef LOCKSTEP_LAYERS_GLOBAL_AVERAGE_POOL_H
#define LOCKSTEP_LAYERS_GLOBAL_AVERAGE_POOL_H

#include "layers/layer.h"

/* Rows [first, last) of x [rows][pixels][channels] and y [rows][channels]. */
typedef struct ls_global_average_pool_kernels {
    void (*forward)(const void *x, int64_t pixels, int64_t channels, int64_t first, int64_t last, void *y,
                    const ls_lane *lane);
    /* dx = the gradient, or dx += it */
    void (*backward)(const void *dy, int64_t pixels, int64_t channels, bool accumulate, int64_t first,
                     int64_t last, void *dx, const ls_lane *lane);
} ls_global_average_pool_kernels;

LS_KERNELS(ls_global_average_pool_kernels, ls_global_average_pool_ref);

/* LS_USAGE: x is not an image. */
ls_tensor *ls_global_average_pool(ls_graph *graph, ls_tensor *x);

extern const ls_layer_class ls_global_average_pool_layer;

#endif
