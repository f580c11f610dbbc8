/* The activation that CONTRIBUTING.md has for an example: one file, softplus.c, and in a program one line that
 * registers its layer, `example_softplus`. */
#ifndef LOCKSTEP_TESTS_GRAPH_SOFTPLUS_H
#define LOCKSTEP_TESTS_GRAPH_SOFTPLUS_H

#include "layers/layer.h"

extern const ls_layer_class softplus_layer;

#endif
