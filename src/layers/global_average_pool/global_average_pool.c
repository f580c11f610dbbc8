#include "layers/global_average_pool/global_average_pool.h"

static const ls_op_class global_average_pool_class = {.name = "global_average_pool",
                                                      .kernels = ls_row_op_kernels,
                                                      .kept = LS_KEEPS_NOTHING,
                                                      .forward = ls_row_op_forward,
                                                      .backward = ls_row_op_backward};

static ls_status check_shape(int dims, const int64_t *shape) {
    char text[64];
    if (dims == 3) return LS_OK;
    return ls_fail(LS_USAGE, "global_average_pool of %s: expected height x width x channels",
                   ls_shape_text(dims, shape, text, sizeof text));
}

ls_tensor *ls_global_average_pool(ls_graph *graph, ls_tensor *x) {
    if (!x) return NULL;
    ls_status status = check_shape(x->dims, x->shape);
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    const ls_row_kernels *kernels = LS_KERNELS_OF(ls_graph_backend(graph), ls_global_average_pool_ref);
    return ls_row_op(graph, x, &global_average_pool_class, kernels, x->shape[2]);
}

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    LS_TRY(check_shape(layer->in_dims, layer->in));
    layer->out_dims = 1;
    layer->out[0] = layer->in[2];
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_global_average_pool(graph, x);
}

const ls_layer_class ls_global_average_pool_layer = {
    .name = "global_average_pool",
    LS_LAYER_NAME_ALONE,
    .declare = declare,
    .apply = apply,
};
