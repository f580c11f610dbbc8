#include "check/probe.h"

#include "graph/op.h"

typedef struct probe_state {
    const double *values; /* [global batch][elements] */
} probe_state;

static int64_t elements_of(const ls_tensor *tensor) {
    return ls_tensor_pixels(tensor) * ls_tensor_channels(tensor);
}

static const double *row_of(const ls_op *op, const ls_run *run, int64_t row, int64_t elements) {
    const probe_state *state = op->state;
    return state->values + (run->shards->offset + row) * elements;
}

static void put(ls_dtype dtype, void *to, int64_t at, double value) {
    if (dtype == LS_FP64)
        ((double *)to)[at] = value;
    else
        ((float *)to)[at] = (float)value;
}

static double get(ls_dtype dtype, const void *from, int64_t at) {
    return dtype == LS_FP64 ? ((const double *)from)[at] : (double)((const float *)from)[at];
}

static void put_rows(const ls_op *op, const ls_run *run, int first, int last, const ls_tensor *like,
                     void *to) {
    ls_dtype dtype = ls_graph_backend(op->graph)->dtype;
    int64_t elements = elements_of(like);
    for (int64_t row = run->shards->start[first]; row < run->shards->start[last]; row++) {
        const double *values = row_of(op, run, row, elements);
        for (int64_t i = 0; i < elements; i++) put(dtype, to, row * elements + i, values[i]);
    }
}

static ls_tensor *add(ls_graph *graph, ls_op *op, const double *values, int dims, const int64_t *shape) {
    probe_state *state;
    ls_status status = ls_calloc(&state, 1, sizeof *state, op->class->name);
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    state->values = values;
    op->state = state;
    return ls_graph_add(graph, op, dims, shape);
}

/* --- leaf ------------------------------------------------------------------------------------------ */

static void leaf_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)lane;
    put_rows(op, run, first, last, op->out, op->out->value);
}

static const ls_op_class leaf_class = {.name = "leaf", .forward = leaf_forward};

ls_tensor *ls_leaf(ls_graph *graph, int dims, const int64_t *shape, const double *values,
                   bool requires_grad) {
    ls_op op = {.class = &leaf_class};
    ls_tensor *leaf = add(graph, &op, values, dims, shape);
    if (leaf) leaf->requires_grad = requires_grad;
    return leaf;
}

/* --- weighted sum ---------------------------------------------------------------------------------- */

static void sum_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_dtype dtype = ls_graph_backend(op->graph)->dtype;
    int64_t elements = elements_of(op->in[0]);
    (void)lane;
    for (int s = first; s < last; s++) {
        op->sums[s] = 0;
        for (int64_t row = run->shards->start[s]; row < run->shards->start[s + 1]; row++) {
            const double *weights = row_of(op, run, row, elements);
            double sum = 0;
            for (int64_t i = 0; i < elements; i++)
                sum += weights[i] * get(dtype, op->in[0]->value, row * elements + i);
            put(dtype, op->out->value, row, sum);
            op->sums[s] += sum;
        }
    }
}

static void sum_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)lane;
    put_rows(op, run, first, last, op->in[0], op->in[0]->grad);
}

static const ls_op_class sum_class = {
    .name = "weighted_sum", .forward = sum_forward, .backward = sum_backward};

ls_tensor *ls_weighted_sum(ls_graph *graph, ls_tensor *x, const double *weights) {
    static const int64_t one = 1;
    if (!x) return NULL;
    ls_op op = {.class = &sum_class, .in = {x}, .sum_length = 1};
    return add(graph, &op, weights, 1, &one);
}
