/* Layers one after the other as one layer: a group under a name of its own, as torch.nn.Sequential. */
#ifndef LOCKSTEP_LAYERS_SEQUENTIAL_H
#define LOCKSTEP_LAYERS_SEQUENTIAL_H

#include "layers/layer.h"

extern const ls_layer_class ls_sequential_layer;

#endif
