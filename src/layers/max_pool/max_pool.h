/* Max pooling, layers/pooling.h: y[i][j][c] = max over the window's pixels of x[..][c]. Padding counts as
 * -inf, so it never wins; a NaN does.
 *
 * The gradient goes to the first maximum in row-major order, as in PyTorch (ties: first), or to every
 * maximum, each the whole of it, as in the published layers of report 2 (ties: all). An element gets what the
 * windows over it have for it summed from 0 in their row-major order. */
#ifndef LOCKSTEP_LAYERS_MAX_POOL_H
#define LOCKSTEP_LAYERS_MAX_POOL_H

#include "layers/pooling.h"

LS_KERNELS(ls_pool_kernels, ls_max_pool_ref);

/* LS_USAGE: the window does not fit. */
ls_tensor *ls_max_pool(ls_graph *graph, ls_tensor *x, const ls_pool_window *window);

extern const ls_layer_class ls_max_pool_layer;

#endif
