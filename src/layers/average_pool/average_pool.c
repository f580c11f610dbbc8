#include "layers/average_pool/average_pool.h"

static const ls_pool_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_average_pool_ref);
}

static void forward(ls_op *op, const ls_run *run, int first, int last, void *scratch) {
    const ls_pool_args args = ls_pool_arguments(op);
    (void)scratch;
    kernels_for(op)->forward(&args, run->shards, first, last);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, void *scratch) {
    const ls_pool_args args = ls_pool_arguments(op);
    kernels_for(op)->backward(&args, run->shards, first, last, scratch);
}

static const ls_op_class average_pool_class = {.name = "average_pool",
                                               .kept = LS_KEEPS_NOTHING,
                                               .forward = forward,
                                               .backward = backward,
                                               .scratch = ls_pool_scratch};

ls_tensor *ls_average_pool(ls_graph *graph, ls_tensor *x, const ls_pool_window *window) {
    return ls_pool(graph, x, &average_pool_class, window);
}

static const ls_key keys[] = {
    {"kernel", LS_KEY_INT, LS_KEY_RESULT, offsetof(ls_pool_settings, kernel), NULL, 1, 1024, NULL,
     "height and width of the window"},
    {"stride", LS_KEY_INT, LS_KEY_RESULT, offsetof(ls_pool_settings, stride), "-1", -1, 1024, NULL,
     "step of the window, at least 1; -1: as large as the kernel"},
    {"pad", LS_KEY_INT, LS_KEY_RESULT, offsetof(ls_pool_settings, pad), "0", 0, 512, NULL,
     "zeros around the image, which count in the average; at most half the kernel"},
    {"name", LS_KEY_STRING, LS_KEY_RESULT, offsetof(ls_pool_settings, name), "", 0, 0, NULL,
     "name of the layer"},
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    return ls_pool_declare(layer);
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_pool_window window = ls_pool_window_of(layer->settings);
    return ls_average_pool(graph, x, &window);
}

const ls_layer_class ls_average_pool_layer = {
    "average_pool", {keys, sizeof keys / sizeof *keys}, sizeof(ls_pool_settings), declare, NULL, apply};
