/* A sample as one vector: a view, nothing moves. Defined for one channel or one pixel, where PyTorch's order (channels
 * first) and ours (channels last) are the same. */
#ifndef LOCKSTEP_LAYERS_FLATTEN_H
#define LOCKSTEP_LAYERS_FLATTEN_H

#include "layers/layer.h"

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x);

extern const ls_layer_class ls_flatten_layer;

#endif
