/* Full average pooling of report 1, [height][width][channels] -> [channels]: y[c] = (sum of x[p][c]) /
 * pixels, and every pixel gets dy[c] / pixels. The sum is in double from 0 over the pixels in row-major
 * order, y rounded once. */
#ifndef LOCKSTEP_LAYERS_GLOBAL_AVERAGE_POOL_H
#define LOCKSTEP_LAYERS_GLOBAL_AVERAGE_POOL_H

#include "layers/row_op.h"

LS_KERNELS(ls_row_kernels, ls_global_average_pool_ref);

/* LS_USAGE: x is not an image. */
ls_tensor *ls_global_average_pool(ls_graph *graph, ls_tensor *x);

extern const ls_layer_class ls_global_average_pool_layer;

#endif
