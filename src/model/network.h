/* A network: a tree of layers with their parameters declared, ready to be put on any number of graphs. It
 * comes from a configuration, or from a few lines of C (model/builder.h).
 *
 * Names are those that PyTorch would give the same modules: a layer's `name` or its place in the list, behind
 * the name of the layer that it is in. Layers of a list that has a brother are told apart by the list:
 * "3.body.0", "3.shortcut.0"; a `name` does without, so that "layer1.0.conv1" can be said. */
#ifndef LOCKSTEP_MODEL_NETWORK_H
#define LOCKSTEP_MODEL_NETWORK_H

#include "graph/graph.h"
#include "io/config.h"
#include "layers/layer.h"

typedef struct ls_network {
    ls_layer_list list;
    ls_layer *layers; /* list.layers and list.count, for short */
    int count;
    ls_parameters parameters;
} ls_network;

/* The layer types as the configuration reader wants them; `tables` has room for LS_LAYER_CLASSES_MAX. */
void ls_network_layer_keys(ls_layer_keys *tables);

/* Builds the layers of `config` for images of height x width x 1 and a last layer of `classes` outputs;
 * parameters are declared, not allocated. LS_USAGE with file and line: a layer that does not fit its input,
 * no layers, wrong outputs. */
ls_status ls_network_create(const ls_config *config, int height, int width, int classes,
                            ls_network **network);
/* The same for an input of any shape; classes 0: any output. */
ls_status ls_network_create_for(const ls_config *config, int dims, const int64_t *shape, int classes,
                                ls_network **network);
void ls_network_destroy(ls_network **network);

/* For those who make networks: appends a zeroed layer with settings of its own to a list, at an address that
 * holds until the next one is appended. Then, once: names layers, checks shapes and sizes, declares
 * parameters. */
ls_status ls_layers_append(ls_layer_list *list, const ls_layer_class *class, ls_layer **layer);
ls_status ls_network_declare(ls_network *network, int dims, const int64_t *shape, int classes);

/* Does a layer want a pass that collects statistics of the whole training set (`statistics: dataset`)? */
bool ls_network_collects(const ls_network *network);

/* Can the network be trained on batches as small as that? LS_USAGE with file and line: the first layer that
 * cannot. */
ls_status ls_network_check_batch(const ls_network *network, int64_t samples);

/* Initial parameters and statistics, a function of the seed alone; after ls_parameters_allocate(). */
ls_status ls_network_initialise(ls_network *network, uint64_t seed);

/* Puts the layers on a graph; returns the last one's output. */
ls_tensor *ls_network_apply(const ls_network *network, ls_graph *graph, ls_tensor *x);

#endif
