#include "layers/residual/residual.h"

#include <string.h>

enum { BODY, SHORTCUT };

typedef struct ls_residual_settings {
    char *name;
} ls_residual_settings;

static const ls_key keys[] = {
    {.name = "body", LS_KEY_LAYERS, LS_KEY_RESULT, 0, NULL, 1, 0, NULL, "the layers that are added to"},
    {.name = "shortcut",
     LS_KEY_LAYERS,
     LS_KEY_RESULT,
     0,
     "[]",
     0,
     0,
     NULL,
     "the layers beside them; none: the input itself"},
    LS_LAYER_NAME_KEY(ls_residual_settings),
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    const ls_layer_list *body = &layer->branch[BODY], *shortcut = &layer->branch[SHORTCUT];
    char in[64], left[64], right[64];
    (void)parameters;
    if (body->out_dims != shortcut->out_dims ||
        memcmp(body->out, shortcut->out, (size_t)body->out_dims * sizeof *body->out) != 0)
        return ls_fail(LS_USAGE,
                       "residual of %s: the body gives %s, the shortcut %s; expected the same shape",
                       ls_shape_text(layer->in_dims, layer->in, in, sizeof in),
                       ls_shape_text(body->out_dims, body->out, left, sizeof left),
                       ls_shape_text(shortcut->out_dims, shortcut->out, right, sizeof right));
    layer->out_dims = body->out_dims;
    memcpy(layer->out, body->out, sizeof layer->out);
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    ls_tensor *body = ls_layers_apply(&layer->branch[BODY], graph, x);
    return ls_add(graph, body, ls_layers_apply(&layer->branch[SHORTCUT], graph, x));
}

const ls_layer_class ls_residual_layer = {
    .name = "residual",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_residual_settings),
    .declare = declare,
    .apply = apply,
};
