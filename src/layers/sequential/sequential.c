#include "layers/sequential/sequential.h"

#include <string.h>

typedef struct ls_sequential_settings {
    char *name;
} ls_sequential_settings;

static const ls_key keys[] = {
    {.name = "layers", LS_KEY_LAYERS, LS_KEY_RESULT, 0, NULL, 1, 0, NULL, "the layers"},
    LS_LAYER_NAME_KEY(ls_sequential_settings),
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
    .name = "sequential",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_sequential_settings),
    .declare = declare,
    .apply = apply,
};
