/* What the files of this folder share about a graph, hidden from the layers. */
#ifndef LOCKSTEP_GRAPH_INTERNAL_H
#define LOCKSTEP_GRAPH_INTERNAL_H

#include "graph/op.h"
#include "graph/plan.h"

enum { LS_MAX_OPS = 4096 }; /* of a recorded graph; an eager tape grows */

struct ls_graph {
    ls_graph_mode mode;
    ls_purpose purpose;
    const ls_backend *backend;
    ls_parameters *parameters;
    const ls_shards *shards; /* of the largest batch */
    const ls_run *run;       /* of an eager graph */
    ls_reducer reducer;
    ls_sharing sharing; /* ranks == 0: none */
    ls_status status;
    ls_op **ops;
    int op_count, op_capacity;
    int64_t pass;                  /* calls of ls_backward() */
    ls_tensor **parameter_tensors; /* [parameters->count], NULL until used */
    struct {                       /* parameters with several readers (shared_parameters.c) */
        void **arenas;             /* [count] gradients of second readers, third readers, .. */
        int count;
        bool *begun; /* [parameters->count] */
    } shared;
    void *owned; /* what ls_eager_create() made for it */
    struct ls_allocation {
        int op; /* it goes with this op */
        void *memory;
        struct ls_allocation *next;
    } * allocations;
    ls_lane lane; /* of an eager graph */
    size_t scratch_size;
};

/* Bytes of an op's output, if batched for any batch up to the graph's largest. */
size_t ls_tensor_bytes(const ls_tensor *tensor);

/* Has the op an input other than a parameter that needs a gradient? */
bool ls_op_has_gradient(const ls_op *op);

/* Does its backward piece take the weight gradients too, on this graph? */
bool ls_op_backward_sums_weights(const ls_op *op);

/* Does its backward piece pack factors of the weight gradient? */
bool ls_op_packs_factors(const ls_op *op);

/* Is x' of the op's fused load kept for its backward pass? */
bool ls_op_stores_input(const ls_op *op);

/* Its partial sums, of one direction, as what is to be added over all shards. */
ls_partial ls_op_partial(const ls_op *op, const ls_run *run, bool grad);
/* Adds those of an op without a cut over the local shards, into op->nodes, unless it has done so. */
void ls_op_sum_nodes(const ls_op *op, const ls_run *run, const ls_lane *lane);

/* Gives op->in[k], a parameter that earlier ops of the tape read too, a gradient of its own. */
ls_status ls_shared_parameter_read(ls_op *op, int k);
/* After a backward pass: adds those gradients, of the ops that took part in it, to the parameters'. */
void ls_shared_parameters_add(ls_graph *graph, bool (*took_part)(const void *client, const ls_op *op),
                              const void *client, const ls_lane *lane);
void ls_shared_parameters_release(ls_graph *graph);

#endif
