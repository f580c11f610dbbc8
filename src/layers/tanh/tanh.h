/* tanh, element by element. Backward: tanh'(x) dy, tanh' = 1 - tanh^2; the op is ls_activate() of
 * layers/elementwise.h. */
#ifndef LOCKSTEP_LAYERS_TANH_H
#define LOCKSTEP_LAYERS_TANH_H

#include "layers/layer.h"

extern const ls_layer_class ls_tanh_layer;

#endif
