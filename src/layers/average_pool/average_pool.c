#include "layers/average_pool/average_pool.h"

static const ls_op_class average_pool_class = {.name = "average_pool",
                                               .kernels = ls_pool_table,
                                               .kept = LS_KEEPS_NOTHING,
                                               .forward = ls_pool_forward,
                                               .backward = ls_pool_backward,
                                               .scratch = ls_pool_scratch};

ls_tensor *ls_average_pool(ls_graph *graph, ls_tensor *x, const ls_pool_window *window) {
    const ls_pool_kernels *kernels = LS_KERNELS_OF(ls_graph_backend(graph), ls_average_pool_ref);
    return ls_pool(graph, x, &average_pool_class, kernels, window);
}

static const ls_key keys[] = {
    LS_POOL_WINDOW_KEYS("zeros around the image, which count in the average; at most half the kernel"),
    LS_LAYER_NAME_KEY(ls_pool_settings),
};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_pool_window window = ls_pool_window_of(layer->settings);
    return ls_average_pool(graph, x, &window);
}

const ls_layer_class ls_average_pool_layer = {
    .name = "average_pool",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_pool_settings),
    .declare = ls_pool_declare,
    .apply = apply,
};
