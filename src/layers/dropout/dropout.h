/* Inverted dropout: in training an element is 0 with probability `rate` and multiplied by 1 / (1 - rate)
 * otherwise (Srivastava et al., JMLR 15, 2014); the op is ls_dropout() of layers/elementwise.h. */
#ifndef LOCKSTEP_LAYERS_DROPOUT_H
#define LOCKSTEP_LAYERS_DROPOUT_H

#include "layers/layer.h"

extern const ls_layer_class ls_dropout_layer;

#endif
