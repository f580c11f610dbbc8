/* A network: the layers of a configuration, their parameters declared, ready to be put on any number of graphs. */
#ifndef LOCKSTEP_MODEL_NETWORK_H
#define LOCKSTEP_MODEL_NETWORK_H

#include "graph/graph.h"
#include "io/config.h"
#include "layers/layer.h"

typedef struct ls_network {
    ls_layer *layers;
    int count;
    ls_parameters parameters;
} ls_network;

/* The layer types as the configuration reader wants them; `tables` has room for LS_LAYER_CLASSES_MAX. */
void ls_network_layer_keys(ls_layer_keys *tables);

/* Builds the layers of `config` for images of height x width x 1 and a last layer of `classes` outputs; parameters are
 * declared, not allocated. LS_USAGE with file and line: a layer that does not fit its input, no layers, wrong outputs. */
ls_status ls_network_create(const ls_config *config, int height, int width, int classes, ls_network **network);
void ls_network_destroy(ls_network **network);

/* Initial parameters and statistics, a function of the seed alone; after ls_parameters_allocate(). */
ls_status ls_network_initialise(ls_network *network, uint64_t seed);

/* Puts the layers on a graph; returns the last one's output. */
ls_tensor *ls_network_apply(const ls_network *network, ls_graph *graph, ls_tensor *x);

#endif
