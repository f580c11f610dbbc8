#include "layers/flatten/flatten.h"

static const ls_op_class view_class = {.name = "flatten", .view = true};
static const ls_op_class permute_class = {.name = "flatten",
                                          .kernels = ls_row_op_kernels,
                                          .kept = LS_KEEPS_NOTHING,
                                          .forward = ls_row_op_forward,
                                          .backward = ls_row_op_backward};

ls_tensor *ls_flatten(ls_graph *graph, ls_tensor *x) {
    if (!x) return NULL;
    const int64_t pixels = ls_tensor_pixels(x), channels = ls_tensor_channels(x), count = pixels * channels;
    if (pixels > 1 && channels > 1)
        return ls_row_op(graph, x, &permute_class, LS_KERNELS_OF(ls_graph_backend(graph), ls_flatten_ref),
                         count);
    ls_op op = {.class = &view_class, .in = {x}};
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
    .name = "flatten",
    LS_LAYER_NAME_ALONE,
    .declare = declare,
    .apply = apply,
};
