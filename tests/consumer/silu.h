/* A layer from outside the library: y = x / (1 + exp(-beta x)), element by element. */
#ifndef CONSUMER_SILU_H
#define CONSUMER_SILU_H

#include <lockstep.h>

extern const ls_layer_class silu_layer;

/* The op. */
ls_tensor *silu(ls_graph *graph, ls_tensor *x, double beta);

#endif
