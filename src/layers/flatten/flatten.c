#include "layers/flatten/flatten.h"

static const ls_flatten_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_flatten_ref);
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

static const ls_op_class view_class = {.name = "flatten", .view = true};
static const ls_op_class permute_class = {
    .name = "flatten", .kept = LS_KEEPS_NOTHING, .forward = forward, .backward = backward};

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x) {
    if (!x) return NULL;
    const int64_t pixels = ls_tensor_pixels(x), channels = ls_tensor_channels(x), count = pixels * channels;
    ls_op op = {.class = pixels > 1 && channels > 1 ? &permute_class : &view_class, .in = {x}};
    return ls_graph_add(graph, &op, 1, &count);
}

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    layer->out_dims = 1;
    layer->out[0] = 1;
    for (int i = 0; i < layer->in_dims; i++) layer->out[0] *= layer->in[i];
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_flatten(graph, x);
}

const ls_layer_class ls_flatten_layer = {
    "flatten", {ls_layer_name_keys, 1}, sizeof(ls_layer_name_settings), declare, NULL, apply};
