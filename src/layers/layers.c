/* The list of all layer classes, and what layers share. */
#include <ctype.h>
#include <string.h>

#include "layers/layer.h"

/* The list: a new layer is a line here. */
#define OWN_LAYERS(X)                                                                                        \
    X(average_pool)                                                                                          \
    X(batchnorm)                                                                                             \
    X(conv2d)                                                                                                \
    X(dense)                                                                                                 \
    X(dropout)                                                                                               \
    X(flatten)                                                                                               \
    X(gelu)                                                                                                  \
    X(global_average_pool)                                                                                   \
    X(instance_norm)                                                                                         \
    X(leaky_relu)                                                                                            \
    X(max_pool)                                                                                              \
    X(relu)                                                                                                  \
    X(residual)                                                                                              \
    X(sequential)                                                                                            \
    X(sigmoid)                                                                                               \
    X(silu)                                                                                                  \
    X(tanh)

#define DECLARE(name) extern const ls_layer_class ls_##name##_layer;
#define ADDRESS(name) &ls_##name##_layer,
OWN_LAYERS(DECLARE)

static const ls_layer_class *classes[LS_LAYER_CLASSES_MAX] = {OWN_LAYERS(ADDRESS)};

const ls_layer_class *const *const ls_layer_classes = classes;
int ls_layer_class_count = sizeof((const ls_layer_class *const[]){OWN_LAYERS(ADDRESS)}) / sizeof *classes;

static bool is_name(const char *text) {
    if (!text || !*text) return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '_') return false;
    return true;
}

ls_status ls_layer_register(const ls_layer_class *class) {
    if (!is_name(class->name))
        return ls_fail(LS_USAGE, "a layer type's name: expected letters, digits and _");
    if (!class->declare || !class->apply)
        return ls_fail(LS_USAGE, "layer type %s: expected functions `declare` and `apply`", class->name);
    if (class->settings_size == 0)
        return ls_fail(LS_USAGE, "layer type %s: its settings have no size", class->name);
    if (ls_layer_branches(class) > LS_LAYER_BRANCHES)
        return ls_fail(LS_USAGE, "layer type %s: %d lists of layers; expected at most %d", class->name,
                       ls_layer_branches(class), LS_LAYER_BRANCHES);
    if (strcmp(class->name, "repeat") == 0)
        return ls_fail(LS_USAGE, "layer type repeat: the name stands for repetition in a configuration");
    for (int i = 0; i < ls_layer_class_count; i++)
        if (strcmp(classes[i]->name, class->name) == 0)
            return ls_fail(LS_USAGE, "layer type %s: there is one of that name", class->name);
    if (ls_layer_class_count == LS_LAYER_CLASSES_MAX)
        return ls_fail(LS_USAGE, "layer type %s: there are %d types, as many as there can be", class->name,
                       LS_LAYER_CLASSES_MAX);
    classes[ls_layer_class_count++] = class;
    return LS_OK;
}

int ls_layer_branches(const ls_layer_class *class) {
    int count = 0;
    for (int i = 0; i < class->keys.count; i++) count += class->keys.keys[i].type == LS_KEY_LAYERS;
    return count;
}

const ls_key *ls_layer_branch_key(const ls_layer_class *class, int branch) {
    for (int i = 0; i < class->keys.count; i++)
        if (class->keys.keys[i].type == LS_KEY_LAYERS && branch-- == 0) return &class->keys.keys[i];
    return NULL;
}

ls_tensor *ls_layers_apply(const ls_layer_list *list, ls_graph *graph, ls_tensor *x) {
    for (int i = 0; i < list->count; i++) {
        const int before = ls_graph_op_count(graph);
        x = list->layers[i].class->apply(&list->layers[i], graph, x);
        for (int k = before; k < ls_graph_op_count(graph);
             k++) { /* those of layers in it bear their names already */
            ls_op *op = ls_graph_op(graph, k);
            if (!op->layer) op->layer = list->layers[i].name;
        }
    }
    return x;
}

void ls_layer_same_shape(ls_layer *layer) {
    layer->out_dims = layer->in_dims;
    memcpy(layer->out, layer->in, sizeof layer->in);
}

ls_status ls_layer_declare_same_shape(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    ls_layer_same_shape(layer);
    return LS_OK;
}

const ls_key ls_layer_name_keys[1] = {
    LS_LAYER_NAME_KEY(ls_layer_name_settings),
};
