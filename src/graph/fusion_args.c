/* From an op's fusion, as the plan decided it, to the arguments of a kernel. An op outside any plan has an
 * empty fusion and gets identities, so that eager and planned runs call the same kernels. */
#include "graph/internal.h"

static ls_normalisation normalisation_of(const ls_op *norm) {
    if (!norm) return (ls_normalisation){0};
    return (ls_normalisation){norm->vectors.mean, norm->vectors.scale, norm->vectors.shift};
}

ls_prologue ls_op_prologue(const ls_op *op, const ls_run *run) {
    if (op->fusion.loaded) __atomic_store_n(op->fusion.loaded, true, __ATOMIC_RELAXED); /* by any thread */
    ls_prologue p = {
        .pixels = ls_tensor_pixels(op->in[0]),
        .width = ls_tensor_width(op->in[0]),
        .channels = ls_tensor_channels(op->in[0]),
        .narrow_x = op->fusion.source->narrow,
        .narrow_residual = op->fusion.residual && op->fusion.residual->narrow,
        .narrow = op->in[0]->narrow,
        .x = op->fusion.source->value,
        .norm = normalisation_of(op->fusion.norm),
        .residual = op->fusion.residual ? op->fusion.residual->value : NULL,
        .residual_norm = normalisation_of(op->fusion.residual_norm),
        .act = op->fusion.act,
        .stored = op->fusion.shared ? op->fusion.shared->out->value : op->fusion.stored,
    };
    if (op->fusion.dropout) {
        p.dropout = op->fusion.dropout->mask;
        p.dropout.seed = run->seed;
        p.dropout.step = run->step;
        p.dropout.now = run->now;
        p.dropout.sample = run->sample;
    }
    return p;
}

bool ls_op_cut_by_store(const ls_op *norm, const ls_run *run, bool grad) {
    const ls_op *by = grad ? norm->grad_sums_by : norm->sums_by;
    if (!by) by = norm;
    return (grad ? norm->grad_sum_length : norm->sum_length) > 0 &&
           run->shards->count == run->shards->total && by->class->makes_cuts && by->class->makes_cuts(by);
}

static const struct ls_batchnorm_grad_cut *grad_cut_of(const ls_op *norm, const ls_run *run) {
    return norm && ls_op_cut_by_store(norm, run, true) ? norm->class->grad_cut_arguments(norm, run) : NULL;
}

ls_epilogue ls_op_epilogue(const ls_op *op, const ls_run *run) {
    const ls_op *norm = op->fusion.sums_for;
    return (ls_epilogue){
        .pixels = ls_tensor_pixels(op->out),
        .width = ls_tensor_width(op->out),
        .channels = ls_tensor_channels(op->out),
        .narrow = op->out->narrow,
        .sums = norm ? norm->sums : NULL,
        .cut = norm && ls_op_cut_by_store(norm, run, false) ? norm->class->cut_arguments(norm, run) : NULL};
}

ls_grad_prologue ls_op_grad_prologue(const ls_op *op) {
    const ls_op *norm = op->fusion.grad_norm;
    ls_grad_prologue p = {
        .pixels = ls_tensor_pixels(op->out),
        .channels = ls_tensor_channels(op->out),
        .narrow_dz = norm ? norm->out->narrow : op->out->narrow,
        .narrow_y = op->out->narrow,
        .dz = norm ? norm->out->grad : op->out->grad,
    };
    if (norm) {
        p.y = op->out->value;
        p.mean = norm->vectors.mean;
        p.a = norm->vectors.a;
        p.b = norm->vectors.b;
        p.c = norm->vectors.c;
        p.stored = norm->out->grad; /* in place: dz is not read again */
    }
    return p;
}

ls_grad_epilogue ls_op_grad_epilogue(const ls_op *op, const ls_run *run) {
    const ls_op *norm = op->fusion.norm, *residual_norm = op->fusion.residual_norm;
    const ls_tensor *residual = residual_norm ? residual_norm->out : op->fusion.residual;
    ls_grad_epilogue e = {
        .narrow_dz = norm ? norm->out->narrow : op->fusion.source->narrow,
        .narrow_dresidual = residual && residual->narrow,
        .others = op->fusion.others ? op->fusion.others->grad : NULL,
        .dz = norm ? norm->out->grad : op->fusion.source->grad,
        .accumulate = op->accumulate[0],
        .sums = norm ? norm->grad_sums : NULL,
        .dresidual = residual ? residual->grad : NULL,
        .dresidual_accumulate = op->accumulate[1],
        .residual_sums = residual_norm ? residual_norm->grad_sums : NULL,
        .cut = grad_cut_of(norm, run),
        .residual_cut = grad_cut_of(residual_norm, run),
    };
    if (e.dresidual == e.dz && !e.dresidual_accumulate) e.dresidual = NULL; /* one place for both */
    return e;
}

/* Does the load change what it reads, so that x' differs from x? */
static bool has_prologue(const ls_op *op) {
    return op->fusion.norm || op->fusion.residual || op->fusion.act.class || op->fusion.dropout;
}

/* Would x' be computed again where it is needed, from what is kept anyway? */
static bool recomputed(const ls_op *op) {
    const ls_activation_class *act = op->fusion.act.class;
    return ls_op_backward_sums_weights(op) && (!act || act->cheap) && !op->fusion.dropout;
}

/* x' of a fused load is kept for the weight gradient and the masks; without a backward pass nothing is. That
 * of an activation is its output, also where others read it. */
bool ls_op_stores_input(const ls_op *op) {
    return op->class->loads_prologue && has_prologue(op) && !recomputed(op) &&
           ls_purpose_goes_back(op->graph->purpose);
}

bool ls_op_gives_gradient(const ls_op *op) {
    return op->class->gives_gradient && op->graph->mode == LS_RECORD &&
           ls_purpose_goes_back(op->graph->purpose) && op->class->gives_gradient(op);
}
