/* Weight gradients over the shards of all ranks of a host at once, where ranks see each other's memory.
 *
 * A dense layer's weight gradient is made of its factors x' and dy alone, which are far smaller than it is as
 * soon as a rank has few rows. So where the ranks share memory, each lays its rows of the factors where they
 * stand in the global batch, and computes a part of the gradient over all rows, with all of the tree in its
 * accumulators: what one rank alone would do, shared out. Nothing is added over ranks, and no rank writes a
 * gradient as large as the model only to have it read by others. */
#include <stdlib.h>

#include "core/work_queue.h"
#include "graph/planner.h"

enum { ALIGNMENT = 64 };

static size_t aligned(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Every op with factors has a weight of this layout, and its factors are as wide as that is; packed ones may have
 * MARGIN columns more, and a byte for each shard and input. */
size_t ls_sharing_bytes(const ls_parameters *parameters, ls_dtype dtype, int64_t batch, int shards,
                        int ranks) {
    enum { MARGIN = 64 };
    size_t bytes = ls_work_queue_bytes(ranks), row = (size_t)batch * ls_dtype_size(dtype);
    for (int i = 0; i < parameters->count; i++) {
        const ls_parameter *p = &parameters->list[i];
        if (p->layout != LS_LAYOUT_DENSE) continue;
        const size_t outputs = (size_t)p->shape[0], inputs = (size_t)p->shape[1];
        bytes += aligned(outputs * row) + aligned(inputs * row) +
                 aligned((outputs + MARGIN) * row + (size_t)shards * (inputs + MARGIN + ALIGNMENT));
    }
    return bytes;
}

void ls_graph_share(ls_graph *graph, const ls_sharing *sharing) {
    graph->sharing = *sharing;
}

static bool reads_alone(const ls_op *op, int k) {
    return !op->in[k] || (!op->reread[k] && op->in[k]->parameter >= 0 && op->in[k]->consumers == 1);
}

void ls_plan_take_all_shards(ls_plan *plan, ls_op *op) {
    ls_graph *graph = plan->graph;
    ls_parameters *p = graph->parameters;
    const bool shared = graph->sharing.ranks > 1, alone = graph->shards->count == graph->shards->total;
    /* on a device nobody is told at once whether the numbers written are finite: the update looks at all */
    if (!op->class->factor_bytes || (!shared && !alone) || graph->backend->device) return;
    for (int k = 1; k < LS_MAX_INPUTS; k++)
        if (!reads_alone(op, k)) return;
    for (int k = 1; k < LS_MAX_INPUTS && op->in[k]; k++) {
        ls_parameter *parameter = &p->list[op->in[k]->parameter];
        parameter->all_shards = !graph->sharing.nodes;
        parameter->host_shards = graph->sharing.nodes;
        op->in[k]->grad =
            ls_arena_at(p, graph->sharing.nodes ? graph->sharing.nodes : p->reduced, parameter->offset);
    }
    op->all_shards = shared;
}

/* --- where the factors lie ------------------------------------------------------------------------- */

static size_t row_bytes(const ls_tensor *tensor) {
    return ls_tensor_bytes(tensor) / (size_t)ls_graph_rows(tensor->graph);
}

/* Gives the buffer behind `slot` so many bytes of the shared memory. row: of one of this rank's rows, or 0.
 */
static ls_status share(ls_plan *plan, void **slot, size_t bytes, size_t row) {
    for (int i = 0; i < plan->buffer_count; i++) {
        ls_buffer *b = &plan->buffers[i];
        if (b->slot != slot) continue;
        if (b->shared) return LS_OK;
        b->shared = true;
        b->row = row;
        b->offset = plan->shared_size;
        plan->shared_size += aligned(bytes);
        return LS_OK;
    }
    return ls_fail(LS_INTERNAL, "a factor of a weight gradient has no buffer");
}

static ls_status share_rows(ls_plan *plan, void **slot, const ls_tensor *tensor) {
    const size_t row = row_bytes(tensor);
    return share(plan, slot, row * (size_t)plan->graph->shards->batch, row);
}

static ls_status share_packed(ls_plan *plan, ls_op *op) {
    const ls_shards *shards = plan->graph->shards;
    const size_t bytes = op->class->factor_bytes(op, shards->batch, shards->total);
    return bytes > 0 ? share(plan, &op->factors, bytes, 0) : LS_OK;
}

static void **x_slot(ls_op *op) {
    return ls_op_stores_input(op) ? &op->fusion.stored : &ls_tensor_base(op->fusion.source)->value;
}

static ls_tensor *dy_tensor(ls_op *op) {
    return ls_tensor_base(op->fusion.grad_norm ? op->fusion.grad_norm->out : op->out);
}

static const ls_parameter *weight_of(const ls_op *op) {
    return &op->graph->parameters->list[op->in[1]->parameter];
}

static int by_place(const void *a, const void *b) {
    const int64_t x = weight_of(((const ls_piece *)a)->op)->offset,
                  y = weight_of(((const ls_piece *)b)->op)->offset;
    return x < y ? -1 : x > y;
}

/* In the order in which their gradients lie, which is also that of their parts. */
static void number_parts(ls_plan *plan) {
    int64_t first = 0;
    qsort(plan->all_shards_pieces, (size_t)plan->all_shards_count, sizeof *plan->all_shards_pieces, by_place);
    for (int i = 0; i < plan->all_shards_count; i++) {
        ls_piece *piece = &plan->all_shards_pieces[i];
        piece->first = first;
        first += piece->op->class->parts(piece->op);
    }
}

ls_status ls_plan_share_factors(ls_plan *plan) {
    plan->shared_size = aligned(ls_work_queue_bytes(plan->graph->sharing.ranks));
    number_parts(plan);
    for (int i = 0; i < plan->all_shards_count; i++) {
        ls_op *op = plan->all_shards_pieces[i].op;
        ls_tensor *dy = dy_tensor(op);
        LS_TRY(share_rows(plan, x_slot(op), op->in[0]));
        LS_TRY(share_rows(plan, &ls_plan_gradient_place(plan, dy)->grad, dy));
        LS_TRY(share_packed(plan, op));
    }
    if (plan->all_shards_count == 0 || plan->shared_size <= plan->graph->sharing.bytes) return LS_OK;
    return ls_fail(LS_INTERNAL, "%zu bytes of factors for %zu of shared memory", plan->shared_size,
                   plan->graph->sharing.bytes);
}

int64_t ls_rows_before(const ls_run *run) {
    return run->shards->offset - run->all->offset;
}

bool ls_plan_move_shared(ls_plan *plan, int64_t row) {
    const ls_graph *graph = plan->graph;
    if (plan->all_shards_count == 0 || row == plan->shared_row) return false;
    plan->shared_row = row;
    for (int i = 0; i < plan->buffer_count; i++) {
        const ls_buffer *b = &plan->buffers[i];
        if (b->shared) *b->slot = (char *)graph->sharing.memory + b->offset + (size_t)row * b->row;
    }
    return true;
}

/* --- who computes what ---------------------------------------------------------------------------------- */

/* How many parts lie before that element of the arena. */
static int64_t parts_before(const ls_plan *plan, int64_t element) {
    int64_t parts = 0;
    for (int i = 0; i < plan->all_shards_count; i++) {
        const ls_op *op = plan->all_shards_pieces[i].op;
        const ls_parameter *weight = weight_of(op);
        const int64_t all = op->class->parts(op);
        const int64_t before = (element - weight->offset) * all / weight->count;
        parts += before < 0 ? 0 : before > all ? all : before;
    }
    return parts;
}

/* A rank begins with the parts that lie, nearly, in its share of the arena: it will update them. */
void ls_plan_give_parts(const ls_plan *plan) {
    const ls_sharing *sharing = &plan->graph->sharing;
    const int64_t total = plan->graph->parameters->total, next = sharing->rank + 1;
    if (plan->all_shards_count == 0) return;
    ls_work_queue_give(sharing->memory, sharing->rank,
                       parts_before(plan, sharing->rank * total / sharing->ranks),
                       parts_before(plan, next * total / sharing->ranks));
}

bool ls_plan_take_parts(const ls_plan *plan, int64_t *first, int64_t *last) {
    const ls_sharing *sharing = &plan->graph->sharing;
    return ls_work_queue_take(sharing->memory, sharing->ranks, sharing->rank, first, last);
}

size_t ls_op_bytes_before(const ls_op *op, const ls_run *run, const ls_tensor *tensor) {
    return op->all_shards ? (size_t)ls_rows_before(run) * row_bytes(tensor) : 0;
}
