#include "layers/dropout/dropout.h"

#include "layers/elementwise.h"

typedef struct ls_dropout_settings {
    double rate;
    char *name;
} ls_dropout_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(ls_dropout_settings, REAL, rate, NULL, 0, 0.999, NULL,
                 "probability that an element is set to 0"),
    LS_LAYER_NAME_KEY(ls_dropout_settings),
};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_dropout_settings *settings = layer->settings;
    return ls_dropout(graph, x, 1 - settings->rate);
}

const ls_layer_class ls_dropout_layer = {
    .name = "dropout",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_dropout_settings),
    .declare = ls_layer_declare_same_shape,
    .apply = apply,
};
