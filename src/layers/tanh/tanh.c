#include "layers/tanh/tanh.h"

#include "layers/elementwise.h"

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, LS_ACT_TANH);
}

const ls_layer_class ls_tanh_layer = {
    .name = "tanh",
    .keys = {ls_layer_name_keys, 1},
    .settings_size = sizeof(ls_layer_name_settings),
    .declare = ls_layer_declare_same_shape,
    .apply = apply,
};
