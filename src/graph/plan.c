/* The planner: decides what is fused and in which stage every piece runs.
 *
 * Scheduling is a list schedule over the tape. A stage takes every piece whose inputs are there; when nothing more fits
 * without a sum over all shards, all partial sums that are ready are added in one cut and the next stage begins. So two
 * BatchNorms that do not wait for one another share a cut. */
#include "graph/plan.h"

#include <stdio.h>
#include <stdlib.h>

/* --- what is fused ------------------------------------------------------------------------------------------------ */

static ls_op_plan *plan_of(ls_plan *plan, const ls_op *op) { return &plan->ops[op->index]; }

static bool sole_consumer(const ls_tensor *tensor) { return tensor->producer && tensor->consumers == 1; }

/* The BatchNorm that makes t for one reader alone, folded into that reader's load, and in *source what it reads; NULL,
 * and t, if there is none. */
static ls_op *fold_norm(ls_plan *plan, ls_tensor *t, ls_tensor **source) {
    *source = t;
    if (!sole_consumer(t) || !t->producer->class->norm) return NULL;
    plan_of(plan, t->producer)->folded = true;
    *source = t->producer->in[0];
    return t->producer;
}

/* Folds the chain norm -> activation -> dropout before `op` into its load; each link may be missing. */
static void fold_chain(ls_plan *plan, ls_op *op) {
    ls_tensor *t = op->in[0];
    if (sole_consumer(t) && t->producer->class->elementwise && t->producer->mask.active) {
        op->fusion.dropout = t->producer;
        plan_of(plan, t->producer)->folded = true;
        t = t->producer->in[0];
    }
    if (sole_consumer(t) && t->producer->class->elementwise && t->producer->act != LS_ACT_NONE) {
        op->fusion.act = t->producer->act;
        plan_of(plan, t->producer)->folded = true;
        t = t->producer->in[0];
    }
    op->fusion.norm = fold_norm(plan, t, &op->fusion.source);
}

/* An activation that is written out, since several ops or one of another kind read it: folds what comes before it,
 * act(norm(x) + norm(r)), into its load. Each part may be missing. */
static void fold_join(ls_plan *plan, ls_op *op) {
    ls_tensor *t = op->in[0];
    if (sole_consumer(t) && t->producer->class->join) {
        const ls_op *join = t->producer;
        plan_of(plan, join)->folded = true;
        op->fusion.residual_norm = fold_norm(plan, join->in[1], &op->fusion.residual);
        t = join->in[0];
    }
    op->fusion.norm = fold_norm(plan, t, &op->fusion.source);
}

static void decide_fusion(ls_plan *plan, bool fuse) {
    ls_graph *graph = plan->graph;
    for (int i = 0; i < graph->op_count; i++) {
        ls_op *op = graph->ops[i];
        op->fusion = (ls_fusion){.source = op->in[0]};
        for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
            if (op->in[k]->producer) plan_of(plan, op->in[k]->producer)->consumer = op;
    }
    for (int i = 0; fuse && i < graph->op_count; i++)
        if (graph->ops[i]->class->loads_prologue) fold_chain(plan, graph->ops[i]);
    for (int i = 0; fuse && i < graph->op_count; i++) {
        ls_op *op = graph->ops[i];
        if (op->class->elementwise && op->act != LS_ACT_NONE && !plan_of(plan, op)->folded) fold_join(plan, op);
    }
    for (int i = 0; fuse && i < graph->op_count; i++) {
        ls_op *op = graph->ops[i];
        if (!op->class->norm) continue;
        ls_op *producer = op->in[0]->producer;
        if (op->sum_length > 0 && producer->class->stores_sums && !producer->fusion.sums_for)
            producer->fusion.sums_for = op;
        if (ls_purpose_goes_back(graph->purpose) && op->in[0]->requires_grad && producer->class->loads_prologue &&
            sole_consumer(op->in[0])) {
            producer->fusion.grad_norm = op;
            plan_of(plan, op)->absorbed = true;
        }
    }
}

/* --- stages ------------------------------------------------------------------------------------------------------- */

static ls_stage *current_stage(ls_plan *plan) { return &plan->stages[plan->stage_count - 1]; }

static void open_stage(ls_plan *plan) {
    plan->stages[plan->stage_count++] = (ls_stage){.shard_first = plan->shard_count,
                                                   .part_first = plan->part_count,
                                                   .cut_first = plan->cut_count};
}

static void emit(ls_plan *plan, ls_op *op, ls_piece_kind kind) {
    if (kind == LS_PIECE_WEIGHT_GRAD && ls_plan_takes_whole(plan, op)) {
        plan->whole_pieces[plan->whole_count++] = (ls_piece){op, kind, 0};
    } else if (kind == LS_PIECE_WEIGHT_GRAD) {
        plan->part_pieces[plan->part_count++] = (ls_piece){op, kind, 0};
        current_stage(plan)->part_count++;
    } else {
        plan->shard_pieces[plan->shard_count++] = (ls_piece){op, kind, 0};
        current_stage(plan)->shard_count++;
    }
}

/* Puts every sum that is complete into this stage's cut and opens the next; false if there is none. */
static bool cut_here(ls_plan *plan, bool grad) {
    ls_graph *graph = plan->graph;
    ls_stage *stage = current_stage(plan);
    for (int i = 0; i < graph->op_count; i++) {
        ls_op *op = graph->ops[i];
        ls_op_plan *p = plan_of(plan, op);
        bool *done = grad ? &p->grad_cut_done : &p->cut_done;
        if (*done || !(grad ? p->grad_sums_done : p->sums_done)) continue;
        *done = true;
        plan->cuts[plan->cut_count++] = (ls_cut){op, grad};
        stage->cut_count++;
    }
    if (stage->cut_count == 0) return false;
    open_stage(plan);
    return true;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static bool value_ready(ls_plan *plan, const ls_tensor *tensor) {
    return !tensor || !tensor->producer || plan_of(plan, tensor->producer)->forward_done;
}

static bool schedule_forward(ls_plan *plan, ls_op *op) {
    ls_op_plan *p = plan_of(plan, op);
    bool progress = false;
    if (op->class->cut && !p->sums_done && value_ready(plan, op->in[0])) {
        bool by_producer = op->in[0]->producer->fusion.sums_for == op;
        if (op->sum_length > 0 && !by_producer) emit(plan, op, LS_PIECE_SUMS);
        p->sums_done = progress = true;
    }
    if (p->forward_done || p->folded) return progress;
    if (op->class->view) return p->forward_done = value_ready(plan, op->in[0]);
    const ls_op *norm = op->fusion.norm, *residual_norm = op->fusion.residual_norm;
    if (op->class->cut && !p->cut_done) return progress;
    if (norm && !plan_of(plan, norm)->cut_done) return progress;
    if (residual_norm && !plan_of(plan, residual_norm)->cut_done) return progress;
    if (!value_ready(plan, op->fusion.source) || !value_ready(plan, op->fusion.residual)) return progress;
    for (int k = 1; k < LS_MAX_INPUTS; k++)
        if (op->in[k] && !value_ready(plan, op->in[k])) return progress;
    emit(plan, op, LS_PIECE_FORWARD);
    p->forward_done = true;
    return true;
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

/* Has `op`, a consumer of some tensor, written its share of that tensor's gradient? */
static bool delivered(ls_plan *plan, const ls_op *op) {
    const ls_op_plan *p = plan_of(plan, op);
    while (p->folded && !op->class->norm) {
        op = p->consumer;
        p = plan_of(plan, op);
    }
    return p->backward_done;
}

/* Is the gradient of the op's output complete? */
static bool gradient_ready(ls_plan *plan, const ls_op *op) {
    const ls_graph *graph = plan->graph;
    const ls_op_plan *p = plan_of(plan, op);
    if (p->folded) { /* its only reader, through the other links of the chain */
        const ls_op *reader = p->consumer;
        while (plan_of(plan, reader)->folded) reader = plan_of(plan, reader)->consumer;
        return plan_of(plan, reader)->backward_done;
    }
    for (int i = op->index + 1; i < graph->op_count; i++)
        for (int k = 0; k < LS_MAX_INPUTS; k++)
            if (graph->ops[i]->in[k] == op->out && !delivered(plan, graph->ops[i])) return false;
    return true;
}

/* The tensor whose gradient an op's backward piece writes for its input k; NULL: none. A folded residual counts as
 * input 1. */
static ls_tensor *gradient_target(const ls_op *op, int k) {
    const ls_fusion *f = &op->fusion;
    ls_tensor *t = op->in[k];
    if (k == 0) t = f->norm ? f->norm->out : f->source;
    if (k == 1 && f->residual) t = f->residual_norm ? f->residual_norm->out : f->residual;
    return t && t->batched && t->requires_grad ? ls_tensor_base(t) : NULL;
}

/* The op that reads the target of op's input k: op itself, or the first one folded into its load. */
static const ls_op *direct_reader(const ls_op *op, int k) {
    if (op->fusion.residual) return op->in[0]->producer; /* the addition */
    const ls_tensor *t = op->fusion.norm ? op->fusion.norm->out : op->fusion.source;
    while (k == 0 && op->in[0] != t) op = op->in[0]->producer;
    return op;
}

/* Gradients of one tensor are added from its last reader on the tape to its first, as the eager graph does. Two may come
 * in any order; of more, an op's share for input k has to wait for those of later readers. */
static bool in_turn(ls_plan *plan, const ls_op *op, int k) {
    const ls_graph *graph = plan->graph;
    const ls_tensor *target = gradient_target(op, k);
    int first = direct_reader(op, k)->index, writes = 0;
    bool later_done = true;
    for (int i = 0; i < graph->op_count; i++)
        for (int m = 0; m < LS_MAX_INPUTS && graph->ops[i]->in[m]; m++) {
            const ls_op *reader = graph->ops[i];
            if (reader->class->view || ls_tensor_base(reader->in[m]) != target) continue;
            writes++;
            if (i > first && !delivered(plan, reader)) later_done = false;
        }
    return later_done || writes <= 2;
}

static bool all_in_turn(ls_plan *plan, const ls_op *op) {
    for (int k = 0; k < LS_MAX_INPUTS; k++)
        if (gradient_target(op, k) && !in_turn(plan, op, k)) return false;
    return true;
}

static bool writes_gradient(const ls_op *op) {
    for (int k = 0; k < LS_MAX_INPUTS; k++)
        if (gradient_target(op, k)) return true;
    return false;
}

static bool schedule_norm_backward(ls_plan *plan, ls_op *op) {
    ls_op_plan *p = plan_of(plan, op);
    if (!p->grad_sums_done) {
        if (!gradient_ready(plan, op)) return false;
        if (op->grad_sum_length == 0)
            p->grad_cut_done = true; /* attacking: a fixed map, nothing to add over samples */
        else if (!p->folded)
            emit(plan, op, LS_PIECE_GRAD_SUMS); /* else the reader's store has taken them */
        p->grad_sums_done = true;
        return true;
    }
    if (!p->grad_cut_done || !all_in_turn(plan, op)) return false;
    if (op->in[0]->requires_grad && !p->absorbed) emit(plan, op, LS_PIECE_BACKWARD);
    return p->backward_done = true;
}

static bool schedule_backward(ls_plan *plan, ls_op *op) {
    ls_op_plan *p = plan_of(plan, op);
    if (p->backward_done) return false;
    if (!p->needed || (p->folded && !op->class->norm)) return p->backward_done = true;
    if (op->class->view) return p->backward_done = gradient_ready(plan, op);
    if (op->class->norm) return schedule_norm_backward(plan, op);
    if (op->fusion.grad_norm ? !plan_of(plan, op->fusion.grad_norm)->grad_cut_done : !gradient_ready(plan, op))
        return false;
    if (!all_in_turn(plan, op)) return false;
    if (writes_gradient(op) || op->fusion.grad_norm || ls_op_joint_gradients(op)) emit(plan, op, LS_PIECE_BACKWARD);
    if (op->class->weight_grad && plan->graph->purpose != LS_ATTACKING) emit(plan, op, LS_PIECE_WEIGHT_GRAD);
    return p->backward_done = true;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

/* The last op is the loss. What it does not depend on has no backward pass, nor has what needs no gradient or ends it. */
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

static void schedule(ls_plan *plan) {
    ls_graph *graph = plan->graph;
    open_stage(plan);
    for (bool more = true; more;) {
        bool progress = false;
        for (int i = 0; i < graph->op_count; i++) progress |= schedule_forward(plan, graph->ops[i]);
        more = progress || cut_here(plan, false);
    }
    if (!ls_purpose_goes_back(graph->purpose)) return;
    mark_needed(plan);
    for (bool more = true; more;) {
        bool progress = false;
        for (int i = graph->op_count - 1; i >= 0; i--) progress |= schedule_backward(plan, graph->ops[i]);
        more = progress || cut_here(plan, true);
    }
}

/* Does a backward piece before piece i, or piece i for an input before k, write the gradient that i writes for k? */
static bool written_before(const ls_plan *plan, int i, int k) {
    const ls_tensor *target = gradient_target(plan->shard_pieces[i].op, k);
    for (int j = 0; j <= i; j++)
        for (int other = 0; other < (j < i ? LS_MAX_INPUTS : k); other++)
            if (plan->shard_pieces[j].kind == LS_PIECE_BACKWARD &&
                gradient_target(plan->shard_pieces[j].op, other) == target)
                return true;
    return false;
}

/* A tensor with two readers gets its gradient in two writes; the one that comes second adds. */
static void mark_accumulation(ls_plan *plan) {
    for (int i = 0; i < plan->shard_count; i++) {
        ls_op *op = plan->shard_pieces[i].op;
        for (int k = 0; plan->shard_pieces[i].kind == LS_PIECE_BACKWARD && k < LS_MAX_INPUTS; k++)
            op->accumulate[k] = gradient_target(op, k) && written_before(plan, i, k);
    }
}

static ls_status check_complete(const ls_plan *plan) {
    const ls_graph *graph = plan->graph;
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op_plan *p = &plan->ops[i];
        if ((!p->forward_done && !p->folded) || (ls_purpose_goes_back(graph->purpose) && !p->backward_done))
            return ls_fail(LS_INTERNAL, "operation %d (%s) cannot be scheduled", i, graph->ops[i]->class->name);
    }
    return LS_OK;
}

ls_status ls_plan_create(ls_graph *graph, bool fuse, int threads, ls_plan **out) {
    ls_plan *plan;
    ls_status status;
    size_t n = (size_t)graph->op_count;
    *out = NULL;
    LS_TRY(graph->status);
    if (graph->mode != LS_RECORD) return ls_fail(LS_USAGE, "a plan of an eager graph; expected a recorded one");
    LS_TRY(ls_calloc(&plan, 1, sizeof *plan, "a plan"));
    plan->graph = graph;
    plan->threads = threads;
    /* an op has at most four shard pieces, one part piece, two cuts and, at a cut, a stage */
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->ops, n, sizeof *plan->ops, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->shard_pieces, 4 * n, sizeof *plan->shard_pieces, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->part_pieces, n, sizeof *plan->part_pieces, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->whole_pieces, n, sizeof *plan->whole_pieces, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->cuts, 2 * n, sizeof *plan->cuts, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->stages, 2 * n + 1, sizeof *plan->stages, "a plan"));
    decide_fusion(plan, fuse);
    schedule(plan);
    LS_TRY_GOTO(status, failed, check_complete(plan));
    mark_accumulation(plan);
    LS_TRY_GOTO(status, failed, ls_plan_allocate(plan));
    *out = plan;
    return LS_OK;
failed:
    ls_plan_destroy(&plan);
    return status;
}

void ls_plan_destroy(ls_plan **out) {
    ls_plan *plan = *out;
    if (!plan) return;
    if (plan->memory) plan->graph->backend->release(plan->memory);
    free(plan->scratch);
    free(plan->buffers);
    free(plan->stages);
    free(plan->cuts);
    free(plan->whole_pieces);
    free(plan->part_pieces);
    free(plan->shard_pieces);
    free(plan->ops);
    free(plan);
    *out = NULL;
}

static void print_piece(const ls_piece *piece) {
    static const char *const kinds[] = {"sums", "forward", "gradient sums", "backward", "weight gradient"};
    const ls_fusion *f = &piece->op->fusion;
    printf("    %-16s %s %d", kinds[piece->kind], piece->op->class->name, piece->op->index);
    if (f->norm) printf(" +norm %d", f->norm->index);
    if (f->residual) printf(" +residual of %d", f->residual->producer ? f->residual->producer->index : -1);
    if (f->residual_norm) printf(" +norm %d", f->residual_norm->index);
    if (f->act != LS_ACT_NONE) printf(" +%s", f->act == LS_ACT_RELU ? "relu" : "tanh");
    if (f->dropout) printf(" +dropout %d", f->dropout->index);
    if (f->sums_for) printf(" (sums for %d)", f->sums_for->index);
    if (f->grad_norm) printf(" (through norm %d)", f->grad_norm->index);
    printf("\n");
}

void ls_plan_print(const ls_plan *plan) {
    for (int s = 0; s < plan->stage_count; s++) {
        const ls_stage *stage = &plan->stages[s];
        printf("stage %d\n", s);
        for (int i = 0; i < stage->shard_count; i++) print_piece(&plan->shard_pieces[stage->shard_first + i]);
        for (int i = 0; i < stage->part_count; i++) print_piece(&plan->part_pieces[stage->part_first + i]);
        for (int i = 0; i < stage->cut_count; i++) {
            const ls_cut *cut = &plan->cuts[stage->cut_first + i];
            printf("    cut              %s %d%s\n", cut->op->class->name, cut->op->index,
                   cut->grad ? " (gradient)" : "");
        }
    }
    if (plan->whole_count > 0) printf("over the shards of all ranks\n");
    for (int i = 0; i < plan->whole_count; i++) print_piece(&plan->whole_pieces[i]);
}
