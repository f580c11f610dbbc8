/* What is fused: which BatchNorms, activations, dropouts and additions the loads and stores of other ops take
 * over. */
#include "graph/planner.h"

static ls_op_plan *plan_of(ls_plan *plan, const ls_op *op) {
    return &plan->ops[op->index];
}

static bool sole_consumer(const ls_tensor *tensor) {
    return tensor->producer && tensor->consumers == 1;
}

static bool is_activation(const ls_op *op) {
    return op->class->elementwise && op->act.class;
}

/* Do the op's kernels fold this activation? */
static bool folds(const ls_op *op, const ls_op *activation) {
    return op->class->folds && op->class->folds(op, &activation->act);
}

/* The BatchNorm that makes t for one reader alone, folded into that reader's load, and in *source what it
 * reads; NULL, and t, if there is none. */
static ls_op *fold_norm(ls_plan *plan, ls_tensor *t, ls_tensor **source) {
    *source = t;
    if (!sole_consumer(t) || !t->producer->class->norm) return NULL;
    plan_of(plan, t->producer)->folded = true;
    *source = t->producer->in[0];
    return t->producer;
}

/* Folds norm(x) + norm(r), which makes t, into the load of `op`. Each part may be missing. */
static void fold_join(ls_plan *plan, ls_op *op, ls_tensor *t) {
    if (sole_consumer(t) && t->producer->class->join) {
        const ls_op *join = t->producer;
        plan_of(plan, join)->folded = true;
        op->fusion.residual_norm = fold_norm(plan, join->in[1], &op->fusion.residual);
        t = join->in[0];
    }
    op->fusion.norm = fold_norm(plan, t, &op->fusion.source);
}

/* Folds the chain join or norm -> activation -> dropout before `op` into its load; each link may be missing.
 */
static void fold_chain(ls_plan *plan, ls_op *op) {
    ls_tensor *t = op->in[0];
    if (sole_consumer(t) && t->producer->class->elementwise && t->producer->mask.active) {
        op->fusion.dropout = t->producer;
        plan_of(plan, t->producer)->folded = true;
        t = t->producer->in[0];
    }
    if (sole_consumer(t) && is_activation(t->producer) && folds(op, t->producer)) {
        op->fusion.act = t->producer->act;
        plan_of(plan, t->producer)->folded = true;
        t = t->producer->in[0];
    }
    if (op->class->loads_join)
        fold_join(plan, op, t);
    else
        op->fusion.norm = fold_norm(plan, t, &op->fusion.source);
}

/* The first op on the tape that reads what the activation makes and has a backward pass, if there is one at
 * all. */
static ls_op *first_reader(const ls_plan *plan, const ls_op *activation) {
    const ls_graph *graph = plan->graph;
    for (int i = activation->index + 1; i < graph->op_count; i++)
        for (int k = 0; k < LS_MAX_INPUTS && graph->ops[i]->in[k]; k++)
            if (graph->ops[i]->in[k] == activation->out &&
                (plan->ops[i].needed || !ls_purpose_goes_back(graph->purpose)))
                return graph->ops[i];
    return NULL;
}

/* An activation that several ops read is folded all the same where the first of them can: its load then
 * writes the output for the others, and its store takes the whole gradient back, since gradients are added
 * from the last reader to the first. Otherwise, or where it is read by one op of another kind, it has a pass
 * of its own, into whose load goes what comes before it. */
static void fold_activation(ls_plan *plan, ls_op *activation) {
    ls_op *reader = first_reader(plan, activation);
    if (!reader || !reader->class->loads_join || reader->in[0] != activation->out ||
        !folds(reader, activation)) {
        fold_join(plan, activation, activation->in[0]);
        return;
    }
    plan_of(plan, activation)->folded = true;
    plan_of(plan, activation)->consumer = reader;
    reader->fusion.shared = activation;
    reader->fusion.act = activation->act;
    fold_join(plan, reader, activation->in[0]);
}

/* The sums of a BatchNorm in the store of the op before it, and its backward pass in that op's load of dy. */
static void fold_around_norm(ls_plan *plan, ls_op *norm) {
    ls_op *producer = norm->in[0]->producer;
    if (norm->sum_length > 0 && producer->class->stores_sums && !producer->fusion.sums_for) {
        producer->fusion.sums_for = norm;
        norm->sums_by = producer;
    }
    if (ls_purpose_goes_back(plan->graph->purpose) && norm->in[0]->requires_grad &&
        producer->class->loads_prologue && sole_consumer(norm->in[0])) {
        producer->fusion.grad_norm = norm;
        plan_of(plan, norm)->absorbed = true;
    }
}

/* The last op is the loss. What it does not depend on has no backward pass, nor has what needs no gradient or
 * ends it. */
static void mark_needed(ls_plan *plan) {
    const ls_graph *graph = plan->graph;
    for (int i = graph->op_count - 1; i >= 0; i--) {
        const ls_op *op = graph->ops[i];
        ls_op_plan *p = plan_of(plan, op);
        if (i == graph->op_count - 1) p->needed = true;
        if (!op->out->requires_grad || !op->in[0]) p->needed = false;
        for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
            if (op->in[k]->producer && p->needed) plan_of(plan, op->in[k]->producer)->needed = true;
    }
}

void ls_plan_fuse(ls_plan *plan, bool fuse) {
    ls_graph *graph = plan->graph;
    if (ls_purpose_goes_back(graph->purpose)) mark_needed(plan);
    for (int i = 0; i < graph->op_count; i++) {
        ls_op *op = graph->ops[i];
        op->fusion = (ls_fusion){.source = op->in[0]};
        op->sums_by = op->grad_sums_by = NULL;
        for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
            if (op->in[k]->producer) plan_of(plan, op->in[k]->producer)->consumer = op;
    }
    if (!fuse) return;
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i]->class->loads_prologue) fold_chain(plan, graph->ops[i]);
    for (int i = 0; i < graph->op_count; i++)
        if (is_activation(graph->ops[i]) && !plan->ops[i].folded) fold_activation(plan, graph->ops[i]);
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i]->class->norm) fold_around_norm(plan, graph->ops[i]);
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i]->fusion.source != graph->ops[i]->in[0])
            graph->ops[i]->fusion.loaded = &plan->ops[i].loaded;
    for (int i = 0; i < graph->op_count; i++) {
        const ls_fusion *f = &graph->ops[i]->fusion;
        if (f->norm) f->norm->grad_sums_by = graph->ops[i];
        if (f->residual_norm) f->residual_norm->grad_sums_by = graph->ops[i];
    }
}
