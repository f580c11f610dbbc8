#include "layers/sequential/sequential.h"

#include <string.h>

typedef struct ls_sequential_settings {
    char *name;
} ls_sequential_settings;

static const ls_key keys[] = {
    {.name = "layers", LS_KEY_LAYERS, LS_KEY_RESULT, 0, NULL, 1, 0, NULL, "the layers"},
    {.name = "name",
     LS_KEY_STRING,
     LS_KEY_RESULT,
     offsetof(ls_sequential_settings, name),
     "",
     0,
     0,
     NULL,
     "name of the layer"},
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    layer->out_dims = layer->branch[0].out_dims;
    memcpy(layer->out, layer->branch[0].out, sizeof layer->out);
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    return ls_layers_apply(&layer->branch[0], graph, x);
}

const ls_layer_class ls_sequential_layer = {
    "sequential", {keys, sizeof keys / sizeof *keys}, sizeof(ls_sequential_settings), declare, NULL, apply};
