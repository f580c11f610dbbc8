/* The graph: tensors, ops, and two ways to run them with the same bits.
 *
 * Eager:   ls_dense(g, ..) runs at once and goes on the tape; ls_backward() walks the tape back.
 * Planned: the same call records the tape and computes nothing; ls_plan_create() lays it out once (what is
 * fused, in which stage each piece runs, where each buffer lies) and ls_plan_run() replays it every step.
 *
 * An op is made of *pieces*. Those over shards see a range of local shards and nothing else; an op whose
 * result mixes samples emits a vector of partial sums per shard, and the graph adds them over shards, threads
 * and ranks at a *cut*. An op knows neither ranks nor threads. */
#ifndef LOCKSTEP_GRAPH_GRAPH_H
#define LOCKSTEP_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/backend.h"
#include "core/dataset.h"
#include "core/lane.h"
#include "core/shards.h"
#include "graph/parameters.h"
#include "graph/fusion.h"
#include "graph/observer.h"

enum { LS_MAX_DIMS = 8, LS_MAX_INPUTS = 3 };

typedef struct ls_graph ls_graph;
typedef struct ls_op ls_op;
typedef struct ls_plan ls_plan;

/* What one replay runs on. Host arrays are over the local rows of the shards. */
typedef struct ls_run {
    const ls_shards *shards;
    const ls_dataset *data;
    const uint32_t *sample; /* [rows] indices in the data set */
    uint64_t seed;
    uint32_t epoch, step;
    const ls_shards
        *all; /* of a rank with all shards of the same batch; read only where ranks share memory */
} ls_run;

/* A tensor of the graph: one per op output and one per parameter that takes part. Values and gradients of the
 * free tensors of tensor/tensor.h, which are not batched and have a producer, are [shape]. */
typedef struct ls_tensor {
    ls_graph *graph;
    bool batched; /* has a leading dimension of samples, not counted in dims */
    int dims;
    int64_t shape[LS_MAX_DIMS]; /* of one sample: [H, W, C] or [C]; of a parameter: PyTorch's */
    bool requires_grad;
    ls_op *producer; /* NULL: a parameter */
    int parameter;   /* index in the graph's parameters, -1: none */
    int consumers;
    void *value;  /* batched: [rows][shape]; a parameter: in its arena */
    void *grad;   /* batched: [rows][shape], NULL where none is needed or it is fused away */
    int64_t pass; /* the ls_backward() that wrote the gradient last; 0: none */
} ls_tensor;

/* Vectors of a normalisation, [channels] each, computed at its cuts: forward mean, scale, shift; backward a,
 * b, c. */
typedef struct ls_norm_vectors {
    void *mean, *scale, *shift, *a, *b, *c;
} ls_norm_vectors;

/* What an op loads through and stores with, as the plan decided; all zero where nothing is fused. */
typedef struct ls_fusion {
    ls_tensor *source;   /* the tensor that is read: in[0], or the start of the chain folded into the load */
    ls_op *norm;         /* BatchNorm folded into the load */
    ls_tensor *residual; /* what an addition folded into the load adds, or the start of the chain before it */
    ls_op *residual_norm; /* BatchNorm of the residual, folded too */
    ls_activation act;    /* activation folded into the load */
    ls_op *dropout;       /* dropout folded into the load */
    ls_op *shared;        /* activation folded into the load that other ops read too: x' is its output */
    ls_tensor *others;    /* that output, if its gradient holds what they have written; else NULL */
    void *stored;         /* [rows][in[0]'s shape]: x' kept for the backward pass */
    ls_op *sums_for;      /* BatchNorm whose forward sums this op's store takes */
    ls_op *grad_norm;     /* BatchNorm behind this op whose backward is applied while dy is loaded */
} ls_fusion;

typedef void (*ls_shard_piece)(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
/* false: a number that it has written is not finite; asked of factored ops only, others may return true */
typedef bool (*ls_part_piece)(ls_op *op, const ls_run *run, int64_t first, int64_t last, const ls_lane *lane);
typedef void (*ls_cut_piece)(ls_op *op, const ls_run *run, const ls_lane *lane);

/* Batched values that the backward pieces of an op read, and which a plan keeps for them. */
typedef enum ls_kept { LS_KEEPS_ALL, LS_KEEPS_INPUTS, LS_KEEPS_NOTHING } ls_kept;

/* One kind of op. A piece that is NULL has nothing to do. */
typedef struct ls_op_class {
    const char *name;
    bool loads_prologue; /* forward and backward read in[0] through a prologue, and dy through its twin */
    bool loads_join; /* with a residual in the prologue, and with what other readers of x' have written of its
                        gradient on the way back; with loads_prologue */
    bool stores_sums; /* forward can take the sums of a BatchNorm that follows */
    bool view;        /* the output is the input under another shape: no pieces, no memory */
    ls_kept kept;
    bool norm, elementwise; /* can be folded into a load: BatchNorm; activation or dropout */
    bool join;              /* the sum of two tensors, which can be folded into the load of an activation */
    bool unbatched; /* the output is not batched: one tensor, cut into no shards (tensor/tensor.h). Pieces
                       over shards ignore their range; such an op runs eagerly only, on one rank */
    ls_shard_piece sums;      /* partial sums per shard into op->sums */
    ls_cut_piece cut;         /* once op->reduced holds their sum over all shards */
    ls_shard_piece forward;   /* out->value */
    ls_shard_piece grad_sums; /* partial sums per shard into op->grad_sums */
    ls_cut_piece grad_cut;
    ls_shard_piece backward; /* gradients of the inputs from out->grad */
    /* Does `backward` sum the weight gradient of each shard as well? Then it runs even where no input needs a
     * gradient, and computes x' again rather than have it stored, unless that takes a dropout or a tanh.
     * NULL: no. */
    bool (*joint_gradients)(const ls_op *op);
    /* Not NULL: the op is *factored*, its weight gradient a function of all rows of x' and of dy, as
     * `backward` reads them, and of what that packs of them into op->factors: so many bytes for so many rows
     * in so many shards, which may be 0. So it can be computed over the shards of all ranks
     * (ls_graph_share()), and `backward` runs even where no input needs a gradient. */
    size_t (*factor_bytes)(const ls_op *op, int64_t rows, int shards);
    int64_t (*parts)(const ls_op *op); /* independent parts of the weight gradient, shared out over threads */
    ls_part_piece weight_grad;
    size_t (*scratch)(const ls_op *op, int64_t rows_per_shard); /* bytes each thread needs */
} ls_op_class;

struct ls_op {
    const ls_op_class *class;
    ls_graph *graph;
    int index;         /* on the tape */
    const char *layer; /* name of the layer that put it there, which outlives the graph; NULL: none did */
    ls_tensor *in[LS_MAX_INPUTS];
    ls_tensor *reread[LS_MAX_INPUTS]; /* in[k], a parameter that an op before reads too: with its own
                                         gradient; owned */
    ls_tensor *out;
    void *state;             /* of its class, one block; owned */
    ls_activation act;       /* of an activation */
    ls_dropout_mask mask;    /* of a dropout; step and sample are the run's */
    ls_norm_vectors vectors; /* of a BatchNorm */
    int64_t sum_length; /* doubles per shard that `sums` (or a fused store) emits; with no cut they join the
                           step's sum */
    double *sums, *nodes,
        *reduced; /* [local shards][sum_length]; with no cut [nodes][sum_length]; [sum_length] */
    int64_t grad_sum_length;
    double *grad_sums, *grad_reduced;
    bool whole;    /* the weight gradient is computed over the shards of all ranks, run->all */
    void *factors; /* class->factor_bytes, or NULL: nothing is packed */
    bool accumulate[LS_MAX_INPUTS]; /* += into in[i]->grad: another consumer has written it before */
    ls_fusion fusion;
};

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

/* Memory that all ranks of a run see, aligned to 64 bytes: for the factors of weight gradients, and for who
 * computes which part of them. */
typedef struct ls_sharing {
    void *memory;
    size_t bytes; /* at least ls_sharing_bytes() */
    int rank, ranks;
} ls_sharing;
size_t ls_sharing_bytes(const ls_parameters *parameters, ls_dtype dtype, int64_t batch, int shards,
                        int ranks);
/* Before ls_plan_create(), which then computes the weight gradients of factored ops over the shards of all
 * ranks (sharing.c), straight into parameters->reduced, and marks their parameters as `whole`. The ranks must
 * share that arena too, and every rank must plan the same graph. */
void ls_graph_share(ls_graph *graph, const ls_sharing *sharing);

ls_purpose ls_graph_purpose(const ls_graph *graph);
const ls_backend *ls_graph_backend(const ls_graph *graph);
ls_parameters *ls_graph_parameters(const ls_graph *graph);
const ls_shards *ls_graph_shards(const ls_graph *graph);
/* The most local rows of any batch up to the largest, at least 1. Not the rows of the largest: of 5 samples
 * in 16 shards none is in shard 5, of 3 samples one. */
int64_t ls_graph_rows(const ls_graph *graph);
int ls_graph_op_count(const ls_graph *graph);
/* How often ls_backward() has been called. */
int64_t ls_graph_pass(const ls_graph *graph);
ls_op *ls_graph_op(const ls_graph *graph, int index);

/* The parameter of that index as a tensor of the graph. */
ls_tensor *ls_graph_parameter(ls_graph *graph, int index);

/* For layers: puts an op on the tape and, in an eager graph, runs it. `op` describes class, inputs, state
 * (taken over, also on failure), sum lengths and the like; the output is batched with this shape. Returns the
 * output, or NULL on a graph that has failed. */
ls_tensor *ls_graph_add(ls_graph *graph, const ls_op *op, int dims, const int64_t *shape);

/* Records a failure, for layers that find their inputs wrong; returns NULL. */
ls_tensor *ls_graph_fail(ls_graph *graph, ls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failure whose message is already recorded. */
ls_tensor *ls_graph_give_up(ls_graph *graph, ls_status status);

/* Device memory that lives as long as the graph, zeroed; NULL on a graph that has failed. */
void *ls_graph_allocate(ls_graph *graph, size_t size, const char *what);

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

/* Channels (the last dimension) and pixels (all others) of a tensor, of one sample. */
int64_t ls_tensor_channels(const ls_tensor *tensor);
int64_t ls_tensor_pixels(const ls_tensor *tensor);
/* The tensor whose memory this one is a view of: itself, mostly. */
ls_tensor *ls_tensor_base(ls_tensor *tensor);
/* "784", "28x28x1", or "scalar" for no dimensions, for messages. */
const char *ls_shape_text(int dims, const int64_t *shape, char *text, size_t size);

/* Bytes by which this rank's rows of a factor, like that tensor, lie behind the first row of the batch, where
 * the op's weight gradient is over the shards of all ranks; otherwise 0: its own rows are all. */
size_t ls_op_bytes_before(const ls_op *op, const ls_run *run, const ls_tensor *tensor);

/* The kernel arguments that an op's fusion, its inputs and the run amount to. */
ls_prologue ls_op_prologue(const ls_op *op, const ls_run *run);
ls_epilogue ls_op_epilogue(const ls_op *op);
ls_grad_prologue ls_op_grad_prologue(const ls_op *op);
ls_grad_epilogue ls_op_grad_epilogue(const ls_op *op);

/* Lays out a recorded graph whose last op is a loss (training) or any op (evaluation). fuse: fold BatchNorm,
 * activation and dropout into loads and stores; the result is the same bits either way. The plan refers to
 * the graph and writes fusion and addresses into it: one plan a graph at a time. */
ls_status ls_plan_create(ls_graph *graph, bool fuse, int threads, ls_plan **plan);
void ls_plan_destroy(ls_plan **plan);

struct ls_team;
/* Replays the plan on the team's threads (as many as it was created for). Collective through the reducer;
 * nothing is allocated. The vectors of ops without a cut (the loss) and parameter gradients are left as sums
 * over nodes. */
ls_status ls_plan_run(ls_plan *plan, const ls_run *run, struct ls_team *team);
/* After a replay, and once every rank is known to have ended its own: the weight gradients over the shards of
 * all ranks, as many of their parts as the others leave to this one. They are there when every rank has
 * returned; the next replay must not begin before. Returns whether all gradients of factored ops that this
 * rank has computed in the replay and here are finite. Local. */
bool ls_plan_run_whole(ls_plan *plan, const ls_run *run, struct ls_team *team);

/* Watches every replay from now on; NULL: nobody does. The observer must outlive them. */
void ls_plan_observe(ls_plan *plan, const ls_observer *observer);

/* A piece of an op, and the bytes of the buffers that it reads or writes, each counted once. */
typedef struct ls_piece_info {
    ls_op *op;
    ls_work work;
    size_t bytes;
} ls_piece_info;

/* The pieces in the order of a replay, but those of weight gradients last; and one of them by itself, on all
 * threads, as often as one likes after a whole replay. What it computes means nothing, since plans share
 * memory between buffers. Local. */
int ls_plan_piece_count(const ls_plan *plan);
ls_piece_info ls_plan_piece(const ls_plan *plan, int i);
void ls_plan_run_piece(ls_plan *plan, int i, const ls_run *run, struct ls_team *team);

/* Bytes that the plan's buffers take, and what they would take without sharing memory between them. */
void ls_plan_memory(const ls_plan *plan, size_t *planned, size_t *unshared);
/* Prints stages and pieces, for people. */
void ls_plan_print(const ls_plan *plan);

#endif
