/* Who writes which gradient, who adds to it, and which gradients of a residual join share their memory. */
#include "graph/planner.h"

ls_tensor *ls_gradient_target(const ls_op *op, int k) {
    const ls_fusion *f = &op->fusion;
    ls_tensor *t = op->in[k];
    if (k == 0) t = f->norm ? f->norm->out : f->source;
    if (k == 1 && f->residual) t = f->residual_norm ? f->residual_norm->out : f->residual;
    return t && t->batched && t->requires_grad ? ls_tensor_base(t) : NULL;
}

const ls_op *ls_direct_reader(const ls_op *op, int k) {
    if (op->fusion.residual) {
        do op = op->in[0]->producer;
        while (!op->class->join);
        return op;
    }
    const ls_tensor *t = op->fusion.norm ? op->fusion.norm->out : op->fusion.source;
    while (k == 0 && op->in[0] != t) op = op->in[0]->producer;
    return op;
}

/* Does piece i, a backward piece, write that gradient? */
static bool writes(const ls_plan *plan, int i, const ls_tensor *target) {
    const ls_piece *piece = &plan->shard_pieces[i];
    for (int k = 0; piece->kind == LS_PIECE_BACKWARD && k < LS_MAX_INPUTS; k++)
        if (ls_gradient_target(piece->op, k) == target) return true;
    return false;
}

/* Is it written before piece i, or by piece i for an input before k? */
static bool written_before(const ls_plan *plan, int i, int k, const ls_tensor *target) {
    for (int j = 0; j < i; j++)
        if (writes(plan, j, target)) return true;
    for (int other = 0; other < k; other++)
        if (ls_gradient_target(plan->shard_pieces[i].op, other) == target) return true;
    return false;
}

void ls_plan_accumulate(ls_plan *plan) {
    for (int i = 0; i < plan->shard_count; i++) {
        ls_op *op = plan->shard_pieces[i].op;
        const ls_op *shared = op->fusion.shared;
        if (plan->shard_pieces[i].kind != LS_PIECE_BACKWARD) continue;
        for (int k = 0; k < LS_MAX_INPUTS; k++) {
            const ls_tensor *target = ls_gradient_target(op, k);
            op->accumulate[k] = target && written_before(plan, i, k, target);
        }
        op->fusion.others = shared && written_before(plan, i, 0, shared->out) ? shared->out : NULL;
    }
}

/* --- gradients at one place ------------------------------------------------------------------------ */

/* The gradient that a backward piece reads element by element and nobody reads after it; NULL: none. */
static ls_tensor *used_up(const ls_op *op) {
    if (op->fusion.shared) return op->fusion.others;
    return op->class->elementwise ? op->out : NULL;
}

/* Is the gradient of that BatchNorm's output left as it is by whoever reads it, and in *last the piece that
 * does? */
static bool only_read(const ls_plan *plan, const ls_op *norm, int *last) {
    const ls_op *reader = plan->ops[norm->index].absorbed ? norm->in[0]->producer : norm;
    *last = -1;
    for (int i = 0; i < plan->shard_count; i++)
        if (plan->shard_pieces[i].kind == LS_PIECE_BACKWARD && plan->shard_pieces[i].op == reader) *last = i;
    /* kernels without joint gradients store dy over it for the weight gradient */
    return reader == norm ||
           (reader->class->backward_sums_weights && reader->class->backward_sums_weights(reader));
}

/* A join's gradient is the same for its branches. One place serves both if the gradient of the first, a
 * BatchNorm's, has been read by the time when another reader of the second writes: a thread runs the pieces
 * of its shards in order. */
static bool serves_both(const ls_plan *plan, int piece) {
    const ls_op *op = plan->shard_pieces[piece].op;
    const ls_fusion *f = &op->fusion;
    const ls_tensor *residual = ls_gradient_target(op, 1);
    int last_read, ignored;
    if (!f->norm || !f->residual || !residual || !ls_gradient_target(op, 0)) return false;
    if (op->accumulate[0] || op->accumulate[1] || !only_read(plan, f->norm, &last_read)) return false;
    if (f->residual_norm) return only_read(plan, f->residual_norm, &ignored);
    for (int i = piece + 1; i <= last_read; i++)
        if (writes(plan, i, residual) || (plan->shard_pieces[i].kind == LS_PIECE_BACKWARD &&
                                          used_up(plan->shard_pieces[i].op) == residual))
            return false;
    return true;
}

ls_tensor *ls_plan_gradient_place(const ls_plan *plan, ls_tensor *tensor) {
    for (ls_tensor *at; (at = plan->ops[tensor->producer->index].place); tensor = at) continue;
    return tensor;
}

static void put_at(ls_plan *plan, ls_tensor *tensor, ls_tensor *place) {
    if (tensor->narrow == place->narrow)
        plan->ops[tensor->producer->index].place = ls_plan_gradient_place(plan, place);
}

void ls_plan_share_gradients(ls_plan *plan) {
    for (int i = 0; i < plan->shard_count; i++) {
        const ls_op *op = plan->shard_pieces[i].op;
        if (plan->shard_pieces[i].kind != LS_PIECE_BACKWARD) continue;
        ls_tensor *target = ls_gradient_target(op, 0), *gone = used_up(op);
        if (gone && target && !op->accumulate[0]) put_at(plan, target, gone);
        if (serves_both(plan, i)) put_at(plan, ls_gradient_target(op, 1), target);
    }
}
