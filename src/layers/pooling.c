#include "layers/pooling.h"

#include <string.h>

typedef struct pool_state {
    ls_pool_window window;
    const ls_pool_kernels *kernels;
} pool_state;

ls_status ls_pool_shape(const char *layer, int dims, const int64_t *in, const ls_pool_window *w,
                        int64_t out[3]) {
    char text[64];
    ls_shape_text(dims, in, text, sizeof text);
    if (dims != 3) return ls_fail(LS_USAGE, "%s of %s: expected height x width x channels", layer, text);
    if (w->kernel < 1 || w->stride < 1)
        return ls_fail(LS_USAGE, "%s of %s: kernel %lld, stride %lld; expected at least 1", layer, text,
                       (long long)w->kernel, (long long)w->stride);
    if (w->pad < 0 || w->pad > w->kernel / 2)
        return ls_fail(LS_USAGE, "%s of %s: pad %lld; expected at most half the kernel of %lld, rounded down",
                       layer, text, (long long)w->pad, (long long)w->kernel);
    int64_t height = in[0] + 2 * w->pad - w->kernel, width = in[1] + 2 * w->pad - w->kernel;
    if (height < 0 || width < 0)
        return ls_fail(LS_USAGE, "%s of %s: a kernel of %lld with pad %lld does not fit", layer, text,
                       (long long)w->kernel, (long long)w->pad);
    out[0] = height / w->stride + 1;
    out[1] = width / w->stride + 1;
    out[2] = in[2];
    return LS_OK;
}

ls_tensor *ls_pool(ls_graph *graph, ls_tensor *x, const ls_op_class *class, const ls_pool_kernels *kernels,
                   const ls_pool_window *window) {
    int64_t shape[3];
    pool_state *state;
    if (!x) return NULL;
    ls_status status = ls_pool_shape(class->name, x->dims, x->shape, window, shape);
    if (status == LS_OK) status = ls_calloc(&state, 1, sizeof *state, class->name);
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    *state = (pool_state){*window, kernels};
    ls_op op = {.class = class, .in = {x}, .state = state};
    return ls_graph_add(graph, &op, 3, shape);
}

ls_pool_args ls_pool_arguments(const ls_op *op) {
    const int64_t *x = op->in[0]->shape, *y = op->out->shape;
    return (ls_pool_args){.height = x[0],
                          .width = x[1],
                          .channels = x[2],
                          .out_height = y[0],
                          .out_width = y[1],
                          .window = ((const pool_state *)op->state)->window,
                          .x = op->in[0]->value,
                          .y = op->out->value,
                          .dy = op->out->grad,
                          .dx = op->in[0]->grad,
                          .accumulate = op->accumulate[0]};
}

const void *ls_pool_table(const ls_op *op) {
    return ((const pool_state *)op->state)->kernels;
}

void ls_pool_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const pool_state *state = op->state;
    const ls_pool_args args = ls_pool_arguments(op);
    state->kernels->forward(&args, run->shards, first, last, lane);
}

void ls_pool_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const pool_state *state = op->state;
    const ls_pool_args args = ls_pool_arguments(op);
    state->kernels->backward(&args, run->shards, first, last, lane);
}

size_t ls_pool_scratch(const ls_op *op, int64_t rows_per_shard) {
    (void)rows_per_shard;
    return (size_t)(ls_tensor_pixels(op->in[0]) * ls_tensor_channels(op->in[0])) *
           ls_dtype_size(ls_graph_backend(op->graph)->dtype);
}

ls_pool_window ls_pool_window_of(const ls_pool_settings *settings) {
    return (ls_pool_window){.kernel = settings->kernel,
                            .stride = settings->stride == -1 ? settings->kernel : settings->stride,
                            .pad = settings->pad,
                            .ties = settings->ties};
}

ls_status ls_pool_declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    const ls_pool_window window = ls_pool_window_of(layer->settings);
    layer->out_dims = 3;
    return ls_pool_shape(layer->class->name, layer->in_dims, layer->in, &window, layer->out);
}
