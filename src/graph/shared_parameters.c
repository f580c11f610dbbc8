/* Parameters that several ops of one graph read. A kernel writes its op's share of a weight gradient and adds
 * to nothing. So every reader but a parameter's first has a gradient of its own, in an arena laid out as that
 * of the parameters (one for all second readers, one for all third ones, ..), and these are added at the end
 * of the backward pass, in the order of the tape: eager and planned runs give the same bits.
 *
 * What is added must be sums over all shards, else the result would depend on the number of ranks: (a1 + b1)
 * + (a2 + b2) is not (a1 + a2) + (b1 + b2). Gradients that are sums over a rank's nodes can be added only by
 * a rank that has all shards; elsewhere such a graph is refused. */
#include <stdlib.h>
#include <string.h>

#include "core/vector.h"
#include "graph/internal.h"

static ls_status add_arena(ls_graph *graph) {
    const ls_parameters *p = graph->parameters;
    size_t elements = (size_t)(p->nodes * p->summed + p->total - p->summed);
    void **more;
    if (!graph->shared.begun)
        LS_TRY(ls_calloc(&graph->shared.begun, (size_t)p->count, sizeof *graph->shared.begun,
                         "shared parameters"));
    LS_TRY(ls_calloc(&more, (size_t)graph->shared.count + 1, sizeof *more, "shared parameters"));
    if (graph->shared.arenas) memcpy(more, graph->shared.arenas, (size_t)graph->shared.count * sizeof *more);
    free(graph->shared.arenas);
    graph->shared.arenas = more;
    LS_TRY(graph->backend->allocate(graph->backend, &more[graph->shared.count],
                                    elements * ls_dtype_size(graph->backend->dtype),
                                    "the gradients of shared parameters"));
    graph->shared.count++;
    return LS_OK;
}

ls_status ls_shared_parameter_read(ls_op *op, int k) {
    ls_graph *graph = op->graph;
    const ls_tensor *first = graph->parameter_tensors[op->in[k]->parameter];
    const ls_parameters *p = graph->parameters;
    int before = first->consumers - 1; /* readers, this one not counted */
    if (before == 0) return LS_OK;
    if (p->list[first->parameter].summed && graph->shards->count < graph->shards->total)
        return ls_fail(
            LS_USAGE,
            "%s: reads %s as an operation before it does, on a rank with %d of %d shards; the gradient "
            "of a shared parameter needs all of them on one rank",
            op->class->name, p->list[first->parameter].name, graph->shards->count, graph->shards->total);
    if (graph->shared.count < before) LS_TRY(add_arena(graph));
    LS_TRY(ls_calloc(&op->reread[k], 1, sizeof *op->reread[k], "a tensor"));
    *op->reread[k] = *first;
    size_t offset = (size_t)((const char *)first->grad - (const char *)p->gradient);
    op->reread[k]->grad = (char *)graph->shared.arenas[before - 1] + offset;
    op->in[k] = op->reread[k];
    return LS_OK;
}

void ls_shared_parameters_add(ls_graph *graph, bool (*took_part)(const void *client, const ls_op *op),
                              const void *client, const ls_lane *lane) {
    const ls_parameters *p = graph->parameters;
    const ls_vector_kernels *vectors = LS_KERNELS_OF(graph->backend, ls_vector_ref);
    bool *begun = graph->shared.begun; /* parameters whose gradient holds what this pass has written */
    if (graph->shared.count == 0) return;
    memset(begun, 0, (size_t)p->count * sizeof *begun);
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op *op = graph->ops[i];
        if (!took_part(client, op)) continue;
        for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++) {
            int parameter = op->in[k]->parameter;
            if (parameter < 0) continue;
            void *sum = graph->parameter_tensors[parameter]->grad;
            int64_t count = p->list[parameter].count;
            if (op->reread[k] && begun[parameter])
                vectors->add(count, op->in[k]->grad, sum, lane);
            else if (op->reread[k])
                vectors->copy((size_t)count * ls_dtype_size(graph->backend->dtype), op->in[k]->grad, sum, lane);
            begun[parameter] = true;
        }
    }
}

void ls_shared_parameters_release(ls_graph *graph) {
    for (int i = 0; i < graph->shared.count; i++)
        graph->backend->release(graph->backend, graph->shared.arenas[i]);
    free(graph->shared.arenas);
    free(graph->shared.begun);
}
