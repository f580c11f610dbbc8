/* A layer from outside the library: y = x / (1 + exp(-beta x)), element by element. */
#ifndef CONSUMER_SWISH_H
#define CONSUMER_SWISH_H

#include <lockstep.h>

extern const ls_layer_class swish_layer;

/* The op. */
ls_tensor *swish(ls_graph *graph, ls_tensor *x, double beta);

#endif
