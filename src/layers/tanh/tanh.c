#include "layers/tanh/tanh.h"

#include "layers/elementwise.h"

typedef struct ls_tanh_settings {
    char *name;
} ls_tanh_settings;

static const ls_key keys[] = {
    {"name", LS_KEY_STRING, LS_KEY_RESULT, offsetof(ls_tanh_settings, name), "", 0, 0, NULL,
     "name of the layer"},
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    ls_layer_same_shape(layer);
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, LS_ACT_TANH);
}

const ls_layer_class ls_tanh_layer = {
    "tanh", {keys, sizeof keys / sizeof *keys}, sizeof(ls_tanh_settings), declare, NULL, apply};
