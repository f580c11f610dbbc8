/* A sample as one vector in PyTorch's order, channels first: y[c pixels + p] = x[p][c], so that the weights
 * of a dense layer behind it mean the same there and here. With one channel or one pixel both orders are the
 * same, and it is a view: nothing moves. */
#ifndef LOCKSTEP_LAYERS_FLATTEN_H
#define LOCKSTEP_LAYERS_FLATTEN_H

#include "layers/layer.h"

/* Rows [first, last) of x [rows][pixels][channels] and y [rows][channels][pixels]. */
typedef struct ls_flatten_kernels {
    void (*forward)(const void *x, int64_t pixels, int64_t channels, int64_t first, int64_t last, void *y,
                    const ls_lane *lane);
    /* dx = the gradient, or dx += it */
    void (*backward)(const void *dy, int64_t pixels, int64_t channels, bool accumulate, int64_t first,
                     int64_t last, void *dx, const ls_lane *lane);
} ls_flatten_kernels;

LS_KERNELS(ls_flatten_kernels, ls_flatten_ref);

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x);

extern const ls_layer_class ls_flatten_layer;

#endif
