/* A sample as one vector in PyTorch's order, channels first: y[c pixels + p] = x[p][c], so that the weights
 * of a dense layer behind it mean the same there and here. With one channel or one pixel both orders are the
 * same, and it is a view: nothing moves. */
#ifndef LOCKSTEP_LAYERS_FLATTEN_H
#define LOCKSTEP_LAYERS_FLATTEN_H

#include "layers/row_op.h"

LS_KERNELS(ls_row_kernels, ls_flatten_ref);

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x);

extern const ls_layer_class ls_flatten_layer;

#endif
