/* What the files of this folder share about a graph, hidden from the layers. */
#ifndef LOCKSTEP_GRAPH_INTERNAL_H
#define LOCKSTEP_GRAPH_INTERNAL_H

#include "graph/graph.h"

enum { LS_MAX_OPS = 4096 };

struct ls_graph {
    ls_graph_mode mode;
    ls_purpose purpose;
    const ls_backend *backend;
    ls_parameters *parameters;
    const ls_shards *shards; /* of the largest batch */
    const ls_run *run;       /* of an eager graph */
    ls_reducer reducer;
    ls_status status;
    ls_op *ops[LS_MAX_OPS];
    int op_count;
    ls_tensor **parameter_tensors; /* [parameters->count], NULL until used */
    struct ls_allocation {
        void *memory;
        struct ls_allocation *next;
    } *allocations;
    void *scratch; /* of an eager graph */
    size_t scratch_size;
};

/* Bytes of a batched tensor, for any batch up to the graph's largest. */
size_t ls_tensor_bytes(const ls_tensor *tensor);

/* The tensor whose memory this one is a view of: itself, mostly. */
ls_tensor *ls_tensor_base(ls_tensor *tensor);

/* Has the op a batched input that needs a gradient? */
bool ls_op_has_gradient(const ls_op *op);

/* Sums op->sums (or grad_sums) over the local shards into op->nodes (or grad_nodes). */
void ls_op_sum_nodes(ls_op *op, const ls_run *run, bool grad);

/* The partial vector of that sum. */
ls_partial ls_op_partial(const ls_op *op, bool grad);

#endif
