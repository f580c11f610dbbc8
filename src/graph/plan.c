/* The planner: decides in which stage every piece runs.
 *
 * Scheduling is a list schedule over the tape. A stage takes every piece whose inputs are there; when nothing
 * more fits without a sum over all shards, all partial sums that are ready are added in one cut and the next
 * stage begins. So two BatchNorms that do not wait for one another share a cut. */
#include "graph/planner.h"

#include <stdio.h>
#include <stdlib.h>

static ls_op_plan *plan_of(ls_plan *plan, const ls_op *op) {
    return &plan->ops[op->index];
}

/* --- stages ---------------------------------------------------------------------------------------- */

static ls_stage *current_stage(ls_plan *plan) {
    return &plan->stages[plan->stage_count - 1];
}

static void open_stage(ls_plan *plan) {
    plan->stages[plan->stage_count++] = (ls_stage){
        .shard_first = plan->shard_count, .part_first = plan->part_count, .cut_first = plan->cut_count};
}

static void emit(ls_plan *plan, ls_op *op, ls_piece_kind kind) {
    if (kind == LS_PIECE_WEIGHT_GRAD) ls_plan_take_all_shards(plan, op);
    if (kind == LS_PIECE_WEIGHT_GRAD && op->class->together && op->class->together(op)) {
        plan->together[plan->together_count++] = op;
        return;
    }
    if (kind == LS_PIECE_WEIGHT_GRAD && op->all_shards) {
        plan->all_shards_pieces[plan->all_shards_count++] = (ls_piece){.op = op, .kind = kind};
    } else if (kind == LS_PIECE_WEIGHT_GRAD) {
        plan->part_pieces[plan->part_count++] = (ls_piece){.op = op, .kind = kind};
        current_stage(plan)->part_count++;
    } else {
        plan->shard_pieces[plan->shard_count++] = (ls_piece){.op = op, .kind = kind};
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

/* --- forward --------------------------------------------------------------------------------------- */

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
    if (op->fusion.shared) plan_of(plan, op->fusion.shared)->forward_done = true;
    return true;
}

/* --- backward -------------------------------------------------------------------------------------- */

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

/* Gradients of one tensor are added from its last reader on the tape to its first, as the eager graph does.
 * Two may come in any order; of more, an op's share for input k has to wait for those of later readers. */
static bool in_turn(ls_plan *plan, const ls_op *op, int k) {
    const ls_graph *graph = plan->graph;
    const ls_tensor *target = ls_gradient_target(op, k);
    int first = ls_direct_reader(op, k)->index, writes = 0;
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
        if (ls_gradient_target(op, k) && !in_turn(plan, op, k)) return false;
    return true;
}

/* Have the other readers of an activation that is folded into this op's load written their shares of its
 * gradient? */
static bool others_delivered(ls_plan *plan, const ls_op *op) {
    const ls_graph *graph = plan->graph;
    for (int i = 0; op->fusion.shared && i < graph->op_count; i++)
        for (int k = 0; k < LS_MAX_INPUTS; k++)
            if (graph->ops[i] != op && graph->ops[i]->in[k] == op->fusion.shared->out &&
                !delivered(plan, graph->ops[i]))
                return false;
    return true;
}

static bool writes_gradient(const ls_op *op) {
    for (int k = 0; k < LS_MAX_INPUTS; k++)
        if (ls_gradient_target(op, k)) return true;
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
    if (op->fusion.grad_norm ? !plan_of(plan, op->fusion.grad_norm)->grad_cut_done
                             : !gradient_ready(plan, op))
        return false;
    if (!all_in_turn(plan, op) || !others_delivered(plan, op)) return false;
    if (writes_gradient(op) || op->fusion.grad_norm || ls_op_backward_sums_weights(op) ||
        ls_op_packs_factors(op))
        emit(plan, op, LS_PIECE_BACKWARD);
    if (op->class->weight_grad && plan->graph->purpose != LS_ATTACKING) emit(plan, op, LS_PIECE_WEIGHT_GRAD);
    return p->backward_done = true;
}

/* --- the whole ------------------------------------------------------------------------------------- */

static void schedule(ls_plan *plan) {
    ls_graph *graph = plan->graph;
    open_stage(plan);
    for (bool more = true; more;) {
        bool progress = false;
        for (int i = 0; i < graph->op_count; i++) progress |= schedule_forward(plan, graph->ops[i]);
        more = progress || cut_here(plan, false);
    }
    if (!ls_purpose_goes_back(graph->purpose)) return;
    for (bool more = true; more;) {
        bool progress = false;
        for (int i = graph->op_count - 1; i >= 0; i--) progress |= schedule_backward(plan, graph->ops[i]);
        more = progress || cut_here(plan, true);
    }
}

static ls_status check_complete(const ls_plan *plan) {
    const ls_graph *graph = plan->graph;
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op_plan *p = &plan->ops[i];
        if ((!p->forward_done && !p->folded) || (ls_purpose_goes_back(graph->purpose) && !p->backward_done))
            return ls_fail(LS_INTERNAL, "operation %d (%s) cannot be scheduled", i,
                           graph->ops[i]->class->name);
    }
    return LS_OK;
}

/* What is folded into a load is not there for who does not load it. */
static ls_status check_folds(const ls_graph *graph) {
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op_class *class = graph->ops[i]->class;
        if ((class->folds || class->loads_join) && !class->loads_prologue)
            return ls_fail(
                LS_INTERNAL,
                "operation %d (%s): its class declares folds or loads_join without loads_prologue; "
                "declare that too and read in[0] through ls_op_prologue(), or declare neither",
                i, class->name);
    }
    return LS_OK;
}

ls_status ls_plan_create(ls_graph *graph, bool fuse, int threads, ls_plan **out) {
    ls_plan *plan;
    ls_status status;
    size_t n = (size_t)graph->op_count;
    *out = NULL;
    LS_TRY(graph->status);
    if (graph->mode != LS_RECORD)
        return ls_fail(LS_USAGE, "a plan of an eager graph; expected a recorded one");
    LS_TRY(check_folds(graph));
    LS_TRY(ls_calloc(&plan, 1, sizeof *plan, "a plan"));
    plan->graph = graph;
    plan->threads = threads;
    /* an op has at most four shard pieces, one part piece, two cuts and, at a cut, a stage */
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->ops, n, sizeof *plan->ops, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->shard_pieces, 4 * n, sizeof *plan->shard_pieces, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->part_pieces, n, sizeof *plan->part_pieces, "a plan"));
    LS_TRY_GOTO(status, failed,
                ls_calloc(&plan->all_shards_pieces, n, sizeof *plan->all_shards_pieces, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->together, n, sizeof *plan->together, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->cuts, 2 * n, sizeof *plan->cuts, "a plan"));
    LS_TRY_GOTO(status, failed, ls_calloc(&plan->stages, 2 * n + 1, sizeof *plan->stages, "a plan"));
    ls_plan_fuse(plan, fuse);
    ls_plan_narrow(plan);
    schedule(plan);
    LS_TRY_GOTO(status, failed, check_complete(plan));
    ls_plan_accumulate(plan);
    ls_plan_share_gradients(plan);
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
    if (plan->memory) plan->graph->backend->release(plan->graph->backend, plan->memory);
    plan->graph->backend->release(plan->graph->backend, plan->scratch);
    free(plan->lanes);
    free(plan->buffers);
    free(plan->stages);
    free(plan->cuts);
    free(plan->all_shards_pieces);
    free(plan->together);
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
    if (f->shared) printf(" +activation %d", f->shared->index);
    if (f->norm) printf(" +norm %d", f->norm->index);
    if (f->residual) printf(" +residual of %d", f->residual->producer ? f->residual->producer->index : -1);
    if (f->residual_norm) printf(" +norm %d", f->residual_norm->index);
    if (f->act.class) printf(" +%s", f->act.class->name);
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
    if (plan->together_count > 0) printf("together\n");
    for (int i = 0; i < plan->together_count; i++)
        print_piece(&(const ls_piece){.op = plan->together[i], .kind = LS_PIECE_WEIGHT_GRAD});
    if (plan->all_shards_count > 0) printf("over the shards of all ranks\n");
    for (int i = 0; i < plan->all_shards_count; i++) print_piece(&plan->all_shards_pieces[i]);
}
