#include "layers/max_pool/max_pool.h"

static const ls_op_class max_pool_class = {.name = "max_pool",
                                           .kernels = ls_pool_table,
                                           .kept = LS_KEEPS_INPUTS,
                                           .forward = ls_pool_forward,
                                           .backward = ls_pool_backward,
                                           .scratch = ls_pool_scratch};

ls_tensor *ls_max_pool(ls_graph *graph, ls_tensor *x, const ls_pool_window *window) {
    const ls_pool_kernels *kernels = LS_KERNELS_OF(ls_graph_backend(graph), ls_max_pool_ref);
    return ls_pool(graph, x, &max_pool_class, kernels, window);
}

static const ls_key keys[] = {
    LS_POOL_WINDOW_KEYS("pixels of -infinity around the image, at most half the kernel"),
    LS_LAYER_KEY(ls_pool_settings, CHOICE, ties, "first", 0, 0, "first|all",
                 "which of equal maxima gets the gradient"),
    LS_LAYER_NAME_KEY(ls_pool_settings),
};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_pool_window window = ls_pool_window_of(layer->settings);
    return ls_max_pool(graph, x, &window);
}

const ls_layer_class ls_max_pool_layer = {
    .name = "max_pool",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_pool_settings),
    .declare = ls_pool_declare,
    .apply = apply,
};
