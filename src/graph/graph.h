/* The graph, for those who use it: tensors, and two ways to run the ops between them with the same bits.
 *
 * Eager:   ls_dense(g, ..) runs at once and goes on the tape; ls_backward() walks the tape back.
 * Planned: the same call records the tape and computes nothing; ls_plan_create() (graph/plan.h) lays it out
 * once, and ls_plan_run() replays it every step.
 *
 * What an op is made of, and how one is written: graph/op.h. */
#ifndef LOCKSTEP_GRAPH_GRAPH_H
#define LOCKSTEP_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/backend.h"
#include "core/dataset.h"
#include "core/lane.h"
#include "core/shards.h"
#include "graph/parameters.h"

enum { LS_MAX_DIMS = 8, LS_MAX_INPUTS = 3 };

typedef struct ls_graph ls_graph;
typedef struct ls_op ls_op;

/* What one replay runs on. */
typedef struct ls_run {
    const ls_shards *shards;
    const ls_dataset *data; /* its images and labels are in backend memory .. */
    const uint32_t *sample; /* [local rows] indices in it, and so are these */
    uint64_t seed;
    uint32_t epoch, step;
    const struct ls_now *now; /* core/now.h, in backend memory: epoch and step are those there; NULL: here */
    const ls_shards
        *all; /* of all ranks of this host together; read only where they share memory */
} ls_run;

/* A tensor of the graph: one per op output and one per parameter that takes part. Values and gradients of the
 * free tensors of tensor/tensor.h, which are not batched and have a producer, are [shape]. */
typedef struct ls_tensor {
    ls_graph *graph;
    bool batched; /* has a leading dimension of samples, not counted in dims */
    int dims;
    int64_t shape[LS_MAX_DIMS]; /* of one sample: [H, W, C] or [C]; of a parameter: PyTorch's */
    bool narrow; /* value and gradient are kept in bf16, as a plan may decide (ls_op_class::narrow) */
    bool requires_grad;
    ls_op *producer; /* NULL: a parameter */
    int parameter;   /* index in the graph's parameters, -1: none */
    int consumers;
    void *value;  /* batched: [rows][shape]; a parameter: in its arena */
    void *grad;   /* batched: [rows][shape], NULL where none is needed or it is fused away */
    int64_t pass; /* the ls_backward() that wrote the gradient last; 0: none */
} ls_tensor;

/* A vector to be added over all shards: out [length] is the sum of what each has. */
typedef struct ls_partial {
    const double *nodes; /* [nodes][length] where this rank has added its shards already, else NULL: */
    double *out;
    int64_t length;
    double *sums; /* [local shards][length], which is used up */
    const ls_shards *shards;
} ls_partial;

/* What this rank gives to such a sum: node n's vector to to[n * stride ..]. */
void ls_partial_nodes(const ls_partial *partial, int nodes, double *to, int64_t stride, const ls_lane *lane);

/* Adds partial vectors over the nodes of all ranks in the tree. Collective over the ranks that run the graph.
 */
typedef struct ls_reducer {
    ls_status (*sum)(void *self, const ls_partial *partials, int count, const ls_lane *lane);
    void *self;
} ls_reducer;

/* The reducer of a graph that owns all shards itself: one node, nothing to add. */
extern const ls_reducer ls_reducer_local;

typedef enum ls_graph_mode { LS_EAGER, LS_RECORD } ls_graph_mode;

/* What a graph is run for. Collecting is a forward pass over the training set that normalises by batch
 * statistics, without dropout or augmentation, and adds up the statistics of the whole set (`statistics:
 * dataset`). Attacking is evaluation with a backward pass for the gradient of the input; parameters have
 * none. */
typedef enum ls_purpose { LS_TRAINING, LS_EVALUATING, LS_COLLECTING, LS_ATTACKING } ls_purpose;

/* Does BatchNorm take the statistics of training as they are? Is there a backward pass? */
static inline bool ls_purpose_evaluates(ls_purpose p) {
    return p == LS_EVALUATING || p == LS_ATTACKING;
}
static inline bool ls_purpose_goes_back(ls_purpose p) {
    return p == LS_TRAINING || p == LS_ATTACKING;
}

/* Starts an empty graph for up to shards->batch samples; shards, parameters and backend must outlive it. An
 * eager graph runs on `run` (NULL for a recording one). Ops called on a failed graph do nothing;
 * ls_graph_status() tells. Local. */
ls_status ls_graph_create(ls_graph_mode mode, ls_purpose purpose, const ls_backend *backend,
                          ls_parameters *parameters, const ls_shards *shards, const ls_run *run,
                          const ls_reducer *reducer, ls_graph **graph);
/* An empty eager graph of one rank with one shard and no parameters, which owns all that it refers to: for
 * tensors that are not batched (tensor/tensor.h). LS_INTERNAL: out of memory. Local. */
ls_status ls_eager_create(ls_dtype dtype, ls_graph **graph);
void ls_graph_destroy(ls_graph **graph);
/* Installs another reducer, before the graph is run. */
void ls_graph_set_reducer(ls_graph *graph, ls_reducer reducer);
ls_status ls_graph_status(const ls_graph *graph);

ls_purpose ls_graph_purpose(const ls_graph *graph);
const ls_backend *ls_graph_backend(const ls_graph *graph);
ls_parameters *ls_graph_parameters(const ls_graph *graph);
const ls_shards *ls_graph_shards(const ls_graph *graph);
int ls_graph_op_count(const ls_graph *graph);
ls_op *ls_graph_op(const ls_graph *graph, int index);

/* The parameter of that index as a tensor of the graph. */
ls_tensor *ls_graph_parameter(ls_graph *graph, int index);

/* Forgets the ops of an eager graph from number `first` on (ls_graph_op_count() at some time before), with
 * their tensors and all memory that came with them; what came earlier keeps values and gradients. A failure
 * stays. */
void ls_graph_clear(ls_graph *graph, int first);

/* Walks an eager graph's tape back from this tensor, whose own gradient is 1 on every element (a loss op
 * ignores it). Gradients of leaves (tensors of ops without inputs) are added to what is there, those of all
 * other tensors replaced; parameter gradients come out in their arena, as sums over nodes and over the ops
 * that read the parameter. Collective through the reducer. LS_USAGE: the tensor needs no gradient, or is
 * NULL: an op before it has failed, whose message stays. */
ls_status ls_backward(ls_tensor *tensor);

/* Channels (the last dimension), pixels (all others) and pixels of a line (the last but one) of a tensor, of
 * one sample. */
int64_t ls_tensor_channels(const ls_tensor *tensor);
int64_t ls_tensor_pixels(const ls_tensor *tensor);
int64_t ls_tensor_width(const ls_tensor *tensor);
/* "784", "28x28x1", or "scalar" for no dimensions, for messages. */
const char *ls_shape_text(int dims, const int64_t *shape, char *text, size_t size);

#endif
