/* Weight gradients over the shards of all ranks at once, where ranks see each other's memory.
 *
 * A dense layer's weight gradient is made of its factors x' and dy alone, which are far smaller than it is as
 * soon as a rank has few rows. So where the ranks share memory, each lays its rows of the factors where they
 * stand in the global batch, and computes a part of the gradient over all rows, with all of the tree in its
 * accumulators: what one rank alone would do, shared out. Nothing is added over ranks, and no rank writes a
 * gradient as large as the model only to have it read by others. */
#include <string.h>

#include "graph/plan.h"

enum { ALIGNMENT = 64 };

static size_t aligned(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Every factored op has a weight of this layout, and its factors are as wide as that is. */
size_t ls_sharing_bytes(const ls_parameters *parameters, ls_dtype dtype, int64_t batch) {
    size_t bytes = 0, row = (size_t)batch * ls_dtype_size(dtype);
    for (int i = 0; i < parameters->count; i++) {
        const ls_parameter *p = &parameters->list[i];
        if (p->layout == LS_LAYOUT_DENSE)
            bytes += aligned((size_t)p->shape[0] * row) + aligned((size_t)p->shape[1] * row);
    }
    return bytes;
}

void ls_graph_share(ls_graph *graph, const ls_sharing *sharing) {
    graph->sharing = *sharing;
}

static bool reads_alone(const ls_op *op, int k) {
    return !op->in[k] || (!op->reread[k] && op->in[k]->parameter >= 0 && op->in[k]->consumers == 1);
}

bool ls_plan_takes_whole(ls_plan *plan, ls_op *op) {
    ls_graph *graph = plan->graph;
    ls_parameters *p = graph->parameters;
    if (!op->class->factored || graph->sharing.ranks < 2) return false;
    for (int k = 1; k < LS_MAX_INPUTS; k++)
        if (!reads_alone(op, k)) return false;
    for (int k = 1; k < LS_MAX_INPUTS && op->in[k]; k++) {
        ls_parameter *parameter = &p->list[op->in[k]->parameter];
        parameter->whole = true;
        op->in[k]->grad = ls_arena_at(p, p->reduced, parameter->offset);
    }
    return op->whole = true;
}

/* --- where the factors lie
 * -------------------------------------------------------------------------------------- */

static size_t row_bytes(const ls_tensor *tensor) {
    return ls_tensor_bytes(tensor) / (size_t)ls_graph_rows(tensor->graph);
}

/* Gives the buffer behind `slot`, of a tensor like this one, a place in the shared memory. */
static ls_status share(ls_plan *plan, void **slot, const ls_tensor *tensor) {
    const ls_graph *graph = plan->graph;
    for (int i = 0; i < plan->buffer_count; i++) {
        ls_buffer *b = &plan->buffers[i];
        if (b->slot != slot) continue;
        if (b->row > 0) return LS_OK;
        b->row = row_bytes(tensor);
        b->offset = plan->shared_size;
        plan->shared_size += aligned(b->row * (size_t)graph->shards->batch);
        return LS_OK;
    }
    return ls_fail(LS_INTERNAL, "a factor of a weight gradient has no buffer");
}

static void **x_slot(ls_op *op) {
    return ls_op_stores_input(op) ? &op->fusion.stored : &ls_tensor_base(op->fusion.source)->value;
}

static ls_tensor *dy_tensor(ls_op *op) {
    return ls_tensor_base(op->fusion.grad_norm ? op->fusion.grad_norm->out : op->out);
}

ls_status ls_plan_share_factors(ls_plan *plan) {
    for (int i = 0; i < plan->whole_count; i++) {
        ls_op *op = plan->whole_pieces[i].op;
        ls_tensor *dy = dy_tensor(op);
        LS_TRY(share(plan, x_slot(op), op->in[0]));
        LS_TRY(share(plan, &ls_plan_gradient_place(plan, dy)->grad, dy));
    }
    if (plan->shared_size <= plan->graph->sharing.bytes) return LS_OK;
    return ls_fail(LS_INTERNAL, "%zu bytes of factors for %zu of shared memory", plan->shared_size,
                   plan->graph->sharing.bytes);
}

bool ls_plan_move_shared(ls_plan *plan, int64_t row) {
    const ls_graph *graph = plan->graph;
    if (plan->whole_count == 0 || row == plan->shared_row) return false;
    plan->shared_row = row;
    for (int i = 0; i < plan->buffer_count; i++) {
        const ls_buffer *b = &plan->buffers[i];
        if (b->row > 0) *b->slot = (char *)graph->sharing.memory + b->offset + (size_t)row * b->row;
    }
    return true;
}

size_t ls_op_bytes_before(const ls_op *op, const ls_run *run, const ls_tensor *tensor) {
    return op->whole ? (size_t)run->shards->offset * row_bytes(tensor) : 0;
}
