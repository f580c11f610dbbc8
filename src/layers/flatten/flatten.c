#include "layers/flatten/flatten.h"

static const ls_op_class flatten_class = {.name = "flatten", .view = true};

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x) {
    if (!x) return NULL;
    int64_t count = ls_tensor_pixels(x) * ls_tensor_channels(x);
    ls_op op = {.class = &flatten_class, .in = {x}};
    return ls_graph_add(graph, &op, 1, &count);
}

typedef struct ls_flatten_settings {
    char *name;
} ls_flatten_settings;

static const ls_key keys[] = {
    {"name", LS_KEY_STRING, LS_KEY_RESULT, offsetof(ls_flatten_settings, name), "", 0, 0, NULL, "name of the layer"},
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    int64_t channels = layer->in[layer->in_dims - 1], count = 1;
    for (int i = 0; i < layer->in_dims; i++) count *= layer->in[i];
    if (channels != 1 && count != channels) {
        char shape[64];
        return ls_fail(LS_USAGE, "flatten of %s: expected one channel or one pixel",
                       ls_shape_text(layer->in_dims, layer->in, shape, sizeof shape));
    }
    layer->out_dims = 1;
    layer->out[0] = count;
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_flatten(graph, x);
}

const ls_layer_class ls_flatten_layer = {
    "flatten", {keys, sizeof keys / sizeof *keys}, sizeof(ls_flatten_settings), declare, NULL, apply};
