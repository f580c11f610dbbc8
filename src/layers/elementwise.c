#include "layers/elementwise.h"

#include "core/rng.h"

const ls_elementwise_kernels *ls_elementwise_kernels_for(const ls_backend *backend) {
    return LS_KERNELS_OF(backend, ls_elementwise_ref);
}

/* The prologue that this op, unfused, amounts to. */
static ls_prologue own_prologue(const ls_op *op, const ls_run *run) {
    ls_prologue p = ls_op_prologue(op, run);
    p.narrow = op->out->narrow; /* x' is what this op gives */
    p.act = op->act;
    p.dropout = op->mask;
    p.dropout.seed = run->seed;
    p.dropout.step = run->step;
    p.dropout.now = run->now;
    p.dropout.sample = run->sample;
    return p;
}

static void elementwise_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_prologue in = own_prologue(op, run);
    ls_elementwise_kernels_for(ls_graph_backend(op->graph))
        ->forward(&in, run->shards, first, last, op->out->value, lane);
}

static void elementwise_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_prologue in = own_prologue(op, run);
    if (op->act.class) in.stored = op->out->value; /* x' itself */
    ls_grad_epilogue dx = ls_op_grad_epilogue(op, run);
    ls_elementwise_kernels_for(ls_graph_backend(op->graph))
        ->backward(&in, &dx, run->shards, first, last, op->out->grad, lane);
}

static size_t cut_bytes(const ls_op *op) {
    const ls_elementwise_kernels *kernels = ls_elementwise_kernels_for(ls_graph_backend(op->graph));
    const ls_tensor *out = op->out;
    if (!kernels->cut_bytes) return 0;
    return kernels->cut_bytes(ls_tensor_pixels(out), ls_tensor_width(out), ls_tensor_channels(out),
                              ls_graph_rows(op->graph));
}

static bool makes_cuts(const ls_op *op) {
    return cut_bytes(op) > 0;
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    const size_t sums = 2 * (size_t)ls_sums_room(ls_tensor_channels(op->out)) * sizeof(double),
                 cuts = cut_bytes(op);
    (void)rows_per_shard;
    return cuts > sums ? cuts : sums;
}

static const void *any_kernels(const ls_op *op) {
    return ls_elementwise_kernels_for(ls_graph_backend(op->graph));
}

/* Kernels for GPUs take both. */
static bool narrow(const ls_op *op) {
    return ls_backend_stores_bf16(ls_graph_backend(op->graph));
}

static const ls_op_class activation_class = {
    .name = "activation",
    .kernels = any_kernels,
    .kept = LS_KEEPS_ALL,
    .elementwise = true,
    .forward = elementwise_forward,
    .backward = elementwise_backward,
    .narrow = narrow,
    .makes_cuts = makes_cuts,
    .scratch = scratch_bytes,
};

static const ls_op_class dropout_class = {
    .name = "dropout",
    .kernels = any_kernels,
    .kept = LS_KEEPS_INPUTS,
    .elementwise = true,
    .forward = elementwise_forward,
    .backward = elementwise_backward,
    .narrow = narrow,
    .makes_cuts = makes_cuts,
    .scratch = scratch_bytes,
};

ls_tensor *ls_activate(ls_graph *graph, ls_tensor *x, ls_activation act) {
    if (!x) return NULL;
    if (!ls_elementwise_kernels_for(ls_graph_backend(graph))->knows(&act))
        return ls_graph_fail(graph, LS_USAGE, "activation %s has no CUDA kernels yet; device=cpu trains it",
                             act.class->name);
    ls_op op = {.class = &activation_class, .in = {x}, .act = act};
    return ls_graph_add(graph, &op, x->dims, x->shape);
}

ls_tensor *ls_dropout(ls_graph *graph, ls_tensor *x, double keep) {
    if (!x) return NULL;
    if (ls_graph_purpose(graph) != LS_TRAINING || keep >= 1) return x;
    if (!(keep > 0))
        return ls_graph_fail(graph, LS_USAGE, "dropout keeps with probability %g: expected 0 < p <= 1", keep);
    double threshold = keep * 0x1p32 + 0.5;
    ls_op op = {.class = &dropout_class,
                .in = {x},
                .mask = {.active = true,
                         .op = (uint32_t)ls_graph_op_count(graph),
                         .threshold = threshold >= 0x1p32 ? UINT32_MAX : (uint32_t)threshold,
                         .scale = 1 / keep}};
    return ls_graph_add(graph, &op, x->dims, x->shape);
}
