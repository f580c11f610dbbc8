/* Where the plan's buffers lie. Each lives from the first stage that writes it to the last that reads it
 * (threads are in step only at the ends of stages), and goes to the lowest address that is free all that
 * time, largest first. */
#include <stdlib.h>
#include <string.h>

#include "graph/planner.h"

enum { ALIGNMENT = 64 };

/* Notes that a stage touches the buffer behind `slot`. */
static void touch(ls_plan *plan, int stage, void **slot, size_t size) {
    for (int i = 0; i < plan->buffer_count; i++) {
        ls_buffer *b = &plan->buffers[i];
        if (b->slot != slot) continue;
        if (stage > b->death) b->death = stage;
        if (b->touched != plan->touching) plan->touched_size += size;
        b->touched = plan->touching;
        return;
    }
    plan->touched_size += size;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    plan->buffers[plan->buffer_count++] =
        (ls_buffer){.slot = slot, .size = size, .birth = stage, .death = stage, .touched = plan->touching};
    plan->unshared_size += size;
}

static void touch_value(ls_plan *plan, int stage, ls_tensor *tensor) {
    if (tensor) tensor = ls_tensor_base(tensor);
    if (tensor && tensor->producer) touch(plan, stage, &tensor->value, ls_tensor_bytes(tensor));
}

static void touch_grad(ls_plan *plan, int stage, ls_tensor *tensor) {
    if (tensor) tensor = ls_tensor_base(tensor);
    if (tensor && tensor->producer && tensor->requires_grad)
        touch(plan, stage, &ls_plan_gradient_place(plan, tensor)->grad, ls_tensor_bytes(tensor));
}

static void touch_stored(ls_plan *plan, int stage, ls_op *op) {
    if (op->fusion.shared)
        touch_value(plan, stage, op->fusion.shared->out);
    else if (ls_op_stores_input(op))
        touch(plan, stage, &op->fusion.stored, ls_tensor_bytes(op->in[0]));
}

/* A BatchNorm that is applied while dy is loaded reads the output too. */
static void touch_values(ls_plan *plan, int stage, const ls_piece *piece) {
    ls_op *op = piece->op;
    const bool forward = piece->kind == LS_PIECE_SUMS || piece->kind == LS_PIECE_FORWARD;
    const ls_kept kept = forward ? LS_KEEPS_ALL : op->class->kept;
    if (kept != LS_KEEPS_NOTHING) {
        for (int k = 1; k < LS_MAX_INPUTS; k++) touch_value(plan, stage, op->in[k]);
        touch_value(plan, stage, op->fusion.source);
        touch_value(plan, stage, op->fusion.residual);
    }
    if (piece->kind == LS_PIECE_SUMS) return;
    if (kept == LS_KEEPS_ALL || op->fusion.grad_norm) touch_value(plan, stage, op->out);
}

/* Packed for the weight gradient: of the rank's own rows, or of all. */
static void touch_packed(ls_plan *plan, int stage, ls_op *op) {
    const ls_graph *graph = plan->graph;
    if (!ls_op_packs_factors(op)) return;
    touch(plan, stage, &op->factors,
          op->all_shards ? op->class->factor_bytes(op, graph->shards->batch, graph->shards->total)
                         : op->class->factor_bytes(op, ls_graph_rows(graph), graph->shards->count));
}

/* What a gradient over all shards is made of. */
static void touch_factors(ls_plan *plan, int stage, ls_op *op) {
    if (ls_op_stores_input(op))
        touch_stored(plan, stage, op);
    else
        touch_value(plan, stage, op->fusion.source);
    touch_grad(plan, stage, op->fusion.grad_norm ? op->fusion.grad_norm->out : op->out);
    touch_packed(plan, stage, op);
}

/* The same where dy is loaded through the BatchNorm behind. */
static void touch_loaded_factors(ls_plan *plan, int stage, ls_op *op) {
    touch_factors(plan, stage, op);
    if (op->fusion.grad_norm) touch_value(plan, stage, op->out);
}

static void touch_buffers(ls_plan *plan, int stage, const ls_piece *piece) {
    ls_op *op = piece->op;
    const ls_fusion *f = &op->fusion;
    if (piece->kind == LS_PIECE_WEIGHT_GRAD && op->all_shards) {
        touch_factors(plan, stage, op);
        return;
    }
    touch_values(plan, stage, piece);
    if (piece->kind == LS_PIECE_SUMS) return;
    if (piece->kind != LS_PIECE_GRAD_SUMS) touch_stored(plan, stage, op);
    if (piece->kind == LS_PIECE_FORWARD) {
        if (ls_op_gives_gradient(op)) touch_grad(plan, stage, op->in[0]);
        return;
    }
    touch_grad(plan, stage, f->grad_norm ? f->grad_norm->out : op->out);
    if (piece->kind != LS_PIECE_GRAD_SUMS) touch_packed(plan, stage, op);
    if (piece->kind != LS_PIECE_BACKWARD) return;
    touch_grad(plan, stage, f->norm ? f->norm->out : f->source);
    touch_grad(plan, stage, f->residual_norm ? f->residual_norm->out : f->residual);
    touch_grad(plan, stage, f->others);
    for (int k = 1; k < LS_MAX_INPUTS && op->in[k]; k++) touch_grad(plan, stage, op->in[k]);
}

static void touch_piece(ls_plan *plan, int stage, ls_piece *piece) {
    plan->touched_size = 0;
    plan->touching++;
    touch_buffers(plan, stage, piece);
    piece->bytes = plan->touched_size;
}

static void touch_all(ls_plan *plan) {
    for (int s = 0; s < plan->stage_count; s++) {
        const ls_stage *stage = &plan->stages[s];
        for (int i = 0; i < stage->shard_count; i++)
            touch_piece(plan, s, &plan->shard_pieces[stage->shard_first + i]);
        for (int i = 0; i < stage->part_count; i++)
            touch_piece(plan, s, &plan->part_pieces[stage->part_first + i]);
    }
    for (int i = 0; i < plan->all_shards_count; i++)
        touch_piece(plan, plan->stage_count - 1, &plan->all_shards_pieces[i]);
    for (int i = 0; i < plan->together_count; i++)
        if (plan->together[i]->class->factor_bytes)
            touch_loaded_factors(plan, plan->stage_count - 1, plan->together[i]);
}

/* What is read after a replay lives to its end: the loss, what it was made of, and of an attack the input's
 * gradient. */
static void touch_results(ls_plan *plan) {
    ls_graph *graph = plan->graph;
    int last = plan->stage_count - 1;
    ls_op *loss = graph->ops[graph->op_count - 1];
    touch_value(plan, last, loss->out);
    touch_value(plan, last, loss->in[0]);
    for (int i = 0; graph->purpose == LS_ATTACKING && i < graph->op_count; i++)
        if (!graph->ops[i]->in[0]) touch_grad(plan, last, graph->ops[i]->out);
}

static int by_size(const void *a, const void *b) {
    const ls_buffer *x = *(const ls_buffer *const *)a, *y = *(const ls_buffer *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return x < y ? -1 : x > y; /* the order of the tape, so that the plan is the same every time */
}

static bool live_together(const ls_buffer *a, const ls_buffer *b) {
    return a->birth <= b->death && b->birth <= a->death;
}

/* The lowest offset where `b` overlaps none of the `placed` buffers that live at the same time. */
static size_t lowest_offset(const ls_buffer *b, ls_buffer *const *placed, int count) {
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < count; i++) {
            const ls_buffer *p = placed[i];
            if (!live_together(b, p) || offset >= p->offset + p->size || p->offset >= offset + b->size)
                continue;
            offset = p->offset + p->size;
            moved = true;
        }
    }
    return offset;
}

static ls_status place_buffers(ls_plan *plan) {
    ls_buffer **order;
    LS_TRY(ls_calloc(&order, (size_t)plan->buffer_count, sizeof *order, "a plan"));
    int count = 0;
    for (int i = 0; i < plan->buffer_count; i++)
        if (!plan->buffers[i].shared) order[count++] = &plan->buffers[i];
    if (order) qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        ls_buffer *b = order[i];
        b->offset = lowest_offset(b, order, i);
        if (b->offset + b->size > plan->memory_size) plan->memory_size = b->offset + b->size;
    }
    free(order);
    return LS_OK;
}

static ls_status allocate_scratch(ls_plan *plan) {
    const ls_backend *backend = plan->graph->backend;
    const ls_graph *graph = plan->graph;
    int64_t rows = (graph->shards->batch + graph->shards->total - 1) / graph->shards->total;
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op *op = graph->ops[i];
        size_t size = op->class->scratch ? op->class->scratch(op, rows) : 0;
        if (size > plan->scratch_size) plan->scratch_size = size;
    }
    plan->scratch_size = (plan->scratch_size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    LS_TRY(ls_calloc(&plan->lanes, (size_t)plan->threads, sizeof *plan->lanes, "a plan's lanes"));
    LS_TRY(backend->allocate(backend, &plan->scratch, plan->scratch_size * (size_t)plan->threads,
                             "scratch memory"));
    for (int i = 0; i < plan->threads; i++) plan->lanes[i].device = backend->device;
    for (int i = 0; plan->scratch && i < plan->threads; i++)
        plan->lanes[i].scratch = (char *)plan->scratch + (size_t)i * plan->scratch_size;
    return LS_OK;
}

/* What is folded into a load is computed nowhere. Who reads it all the same, which ls_plan_run() refuses, finds
 * what the load reads, of the same shape. */
static void stand_in(const ls_op *reader) {
    const ls_fusion *f = &reader->fusion;
    for (ls_tensor *t = reader->in[0]; t != f->source; t = t->producer->in[0])
        if (!f->shared || t != f->shared->out) t->value = f->source->value;
}

void ls_plan_set_views(ls_plan *plan) {
    for (int i = 0; i < plan->graph->op_count; i++) {
        ls_tensor *out = plan->graph->ops[i]->out;
        if (plan->ops[i].place) out->grad = ls_plan_gradient_place(plan, out)->grad;
    }
    for (int i = 0; i < plan->graph->op_count; i++) {
        ls_tensor *view = plan->graph->ops[i]->out;
        if (!plan->graph->ops[i]->class->view) continue;
        view->value = ls_tensor_base(view)->value;
        view->grad = ls_tensor_base(view)->grad;
    }
    for (int i = 0; i < plan->graph->op_count; i++) stand_in(plan->graph->ops[i]);
}

/* An addition that is folded has no kernels. */
static bool can_be_narrow(const ls_plan *plan, const ls_op *op) {
    if (op->class->join && plan->ops[op->index].folded) return true;
    return op->class->narrow && op->class->narrow(op);
}

void ls_plan_narrow(ls_plan *plan) {
    ls_graph *graph = plan->graph;
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op *op = graph->ops[i];
        op->out->narrow = op->out->batched && op->out->dims == 3 && can_be_narrow(plan, op);
    }
    for (int i = 0; i < graph->op_count; i++)
        for (int k = 0; k < LS_MAX_INPUTS && graph->ops[i]->in[k]; k++)
            if (!can_be_narrow(plan, graph->ops[i])) graph->ops[i]->in[k]->narrow = false;
}

ls_status ls_plan_allocate(ls_plan *plan) {
    ls_graph *graph = plan->graph;
    /* an op has at most a value, a gradient, a stored input and packed factors */
    LS_TRY(ls_calloc(&plan->buffers, 4 * (size_t)graph->op_count, sizeof *plan->buffers, "a plan"));
    touch_all(plan);
    touch_results(plan);
    LS_TRY(ls_plan_share_factors(plan));
    LS_TRY(place_buffers(plan));
    LS_TRY(graph->backend->allocate(graph->backend, &plan->memory, plan->memory_size,
                                    "activations and their gradients"));
    for (int i = 0; i < plan->buffer_count; i++)
        if (!plan->buffers[i].shared) *plan->buffers[i].slot = (char *)plan->memory + plan->buffers[i].offset;
    plan->shared_row = -1;
    (void)ls_plan_move_shared(plan, graph->sharing.row);
    ls_plan_set_views(plan);
    return allocate_scratch(plan);
}

void ls_plan_memory(const ls_plan *plan, size_t *planned, size_t *unshared) {
    *planned = plan->memory_size + plan->scratch_size * (size_t)plan->threads;
    *unshared = plan->unshared_size + plan->scratch_size * (size_t)plan->threads;
}
