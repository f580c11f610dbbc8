#include "layers/dropout/dropout.h"

#include "layers/elementwise.h"

typedef struct ls_dropout_settings {
    double rate;
    char *name;
} ls_dropout_settings;

static const ls_key keys[] = {
    {.name = "rate",
     LS_KEY_REAL,
     LS_KEY_RESULT,
     offsetof(ls_dropout_settings, rate),
     NULL,
     0,
     0.999,
     NULL,
     "probability that an element is set to 0"},
    {.name = "name",
     LS_KEY_STRING,
     LS_KEY_RESULT,
     offsetof(ls_dropout_settings, name),
     "",
     0,
     0,
     NULL,
     "name of the layer"},
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
