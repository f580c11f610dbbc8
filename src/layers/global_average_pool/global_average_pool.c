#include "layers/global_average_pool/global_average_pool.h"

static const ls_global_average_pool_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_global_average_pool_ref);
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_tensor *x = op->in[0];
    kernels_for(op)->forward(x->value, ls_tensor_pixels(x), ls_tensor_channels(x), run->shards->start[first],
                             run->shards->start[last], op->out->value, lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_tensor *x = op->in[0];
    kernels_for(op)->backward(op->out->grad, ls_tensor_pixels(x), ls_tensor_channels(x), op->accumulate[0],
                              run->shards->start[first], run->shards->start[last], x->grad, lane);
}

static const ls_op_class global_average_pool_class = {
    .name = "global_average_pool", .kept = LS_KEEPS_NOTHING, .forward = forward, .backward = backward};

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
    ls_op op = {.class = &global_average_pool_class, .in = {x}};
    return ls_graph_add(graph, &op, 1, &x->shape[2]);
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
    "global_average_pool", {ls_layer_name_keys, 1}, sizeof(ls_layer_name_settings), declare, NULL, apply};
