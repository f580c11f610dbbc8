/* A residual block (He et al., 2016): y = body(x) + shortcut(x), with layers in two lists; an empty shortcut
 * is the identity. Its join is an op, the addition of two tensors of the same shape: y = a + b, and both
 * inputs get the gradient of y. */
#ifndef LOCKSTEP_LAYERS_RESIDUAL_H
#define LOCKSTEP_LAYERS_RESIDUAL_H

#include "layers/layer.h"

typedef struct ls_add_kernels {
    /* y = a + b, elements [first, last) */
    void (*forward)(const void *a, const void *b, int64_t first, int64_t last, void *y, const ls_lane *lane);
    /* dx = dy, or dx += dy */
    void (*backward)(const void *dy, bool accumulate, int64_t first, int64_t last, void *dx,
                     const ls_lane *lane);
} ls_add_kernels;

extern const ls_layer_class ls_residual_layer;

LS_KERNELS(ls_add_kernels, ls_add_ref);

/* The op. LS_USAGE: the shapes differ. */
ls_tensor *ls_add(ls_graph *graph, ls_tensor *a, ls_tensor *b);

#endif
