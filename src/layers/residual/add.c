/* The op of a residual block: its sum. */
#include "layers/residual/residual.h"

#include <string.h>

static const ls_add_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_add_ref);
}

/* Elements [*first, *last) of the rows of these shards. */
static void elements_of(const ls_op *op, const ls_run *run, int first_shard, int last_shard, int64_t *first,
                        int64_t *last) {
    int64_t row = ls_tensor_pixels(op->out) * ls_tensor_channels(op->out);
    *first = run->shards->start[first_shard] * row;
    *last = run->shards->start[last_shard] * row;
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    int64_t begin, end;
    elements_of(op, run, first, last, &begin, &end);
    kernels_for(op)->forward(op->in[0]->value, op->in[1]->value, begin, end, op->out->value, lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    int64_t begin, end;
    elements_of(op, run, first, last, &begin, &end);
    for (int k = 0; k < 2; k++)
        if (op->in[k]->requires_grad)
            kernels_for(op)->backward(op->out->grad, op->accumulate[k], begin, end, op->in[k]->grad, lane);
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

static const ls_op_class add_class = {.name = "add",
                                      .kernels = any_kernels,
                                      .kept = LS_KEEPS_NOTHING,
                                      .join = true,
                                      .forward = forward,
                                      .backward = backward};

ls_tensor *ls_add(ls_graph *graph, ls_tensor *a, ls_tensor *b) {
    if (!a || !b) return NULL;
    char left[64], right[64];
    if (a->dims != b->dims || memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) != 0)
        return ls_graph_fail(graph, LS_USAGE, "add: %s and %s are not the same shape",
                             ls_shape_text(a->dims, a->shape, left, sizeof left),
                             ls_shape_text(b->dims, b->shape, right, sizeof right));
    ls_op op = {.class = &add_class, .in = {a, b}};
    return ls_graph_add(graph, &op, a->dims, a->shape);
}
