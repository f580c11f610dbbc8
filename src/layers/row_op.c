#include "layers/row_op.h"

typedef struct row_state {
    const ls_row_kernels *kernels;
} row_state;

ls_tensor *ls_row_op(ls_graph *graph, ls_tensor *x, const ls_op_class *class, const ls_row_kernels *kernels,
                     int64_t elements) {
    row_state *state;
    ls_status status = ls_calloc(&state, 1, sizeof *state, class->name);
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    state->kernels = kernels;
    ls_op op = {.class = class, .in = {x}, .state = state};
    return ls_graph_add(graph, &op, 1, &elements);
}

const void *ls_row_op_kernels(const ls_op *op) {
    return ((const row_state *)op->state)->kernels;
}

void ls_row_op_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_tensor *x = op->in[0];
    ((const row_state *)op->state)
        ->kernels->forward(x->value, ls_tensor_pixels(x), ls_tensor_channels(x), run->shards->start[first],
                           run->shards->start[last], op->out->value, lane);
}

void ls_row_op_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_tensor *x = op->in[0];
    ((const row_state *)op->state)
        ->kernels->backward(op->out->grad, ls_tensor_pixels(x), ls_tensor_channels(x), op->accumulate[0],
                            run->shards->start[first], run->shards->start[last], x->grad, lane);
}
