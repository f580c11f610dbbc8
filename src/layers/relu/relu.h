/* relu, element by element. Backward: relu'(x) dy, 0 at x = 0; the op is ls_activate() of
 * layers/elementwise.h. */
#ifndef LOCKSTEP_LAYERS_RELU_H
#define LOCKSTEP_LAYERS_RELU_H

#include "layers/layer.h"

extern const ls_layer_class ls_relu_layer;

#endif
