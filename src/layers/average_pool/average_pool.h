/* Average pooling (layers/pooling.h): y[i][j][c] = (sum over the window's pixels of x[..][c]) / (kernel
 * kernel). Padding is zeros and counts in the divisor: PyTorch's default, count_include_pad=True.
 *
 *   y     the sum in double from 0, over the pixels inside the image in row-major order; rounded once
 *   dx    dy / (kernel kernel), rounded, summed from 0 over the windows in row-major order */
#ifndef LOCKSTEP_LAYERS_AVERAGE_POOL_H
#define LOCKSTEP_LAYERS_AVERAGE_POOL_H

#include "layers/pooling.h"

LS_KERNELS(ls_pool_kernels, ls_average_pool_ref);

/* LS_USAGE: the window does not fit. */
ls_tensor *ls_average_pool(ls_graph *graph, ls_tensor *x, const ls_pool_window *window);

extern const ls_layer_class ls_average_pool_layer;

#endif
