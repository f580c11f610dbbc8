/* The graph, for those who write an op.
 *
 * An op is made of *pieces*. Those over shards see a range of local shards and nothing else; an op whose
 * result mixes samples emits a vector of partial sums per shard, and the graph adds them over shards, threads
 * and ranks at a *cut*. An op knows neither ranks nor threads, and touches no number itself: its pieces call a
 * table of kernels. */
#ifndef LOCKSTEP_GRAPH_OP_H
#define LOCKSTEP_GRAPH_OP_H

#include "core/lane.h"
#include "graph/fusion.h"
#include "graph/graph.h"

/* --- a class of ops --- */

typedef void (*ls_shard_piece)(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
/* false: a number that it has written is not finite; asked of ops with factors only, others may return true */
typedef bool (*ls_part_piece)(ls_op *op, const ls_run *run, int64_t first, int64_t last, const ls_lane *lane);
typedef void (*ls_cut_piece)(ls_op *op, const ls_run *run, const ls_lane *lane);

/* Batched values that the backward pieces of an op read, and which a plan keeps for them. */
typedef enum ls_kept { LS_KEEPS_ALL, LS_KEEPS_INPUTS, LS_KEEPS_NOTHING } ls_kept;

/* One kind of op.
 *
 * Required: a name, and `forward`, unless the output is a view or a leaf that is filled from outside. */
typedef struct ls_op_class {
    const char *name;
    ls_shard_piece forward; /* out->value from the values of the inputs */

    /* What has a default, which is right for an op that says nothing, if not the fastest. */
    const void *(*kernels)(const ls_op *op); /* its table for the graph's back end, NULL: there is none; asked
                                                on GPUs. Default: none there */
    ls_shard_piece
        backward; /* gradients of the inputs from out->grad; default: the op has none, as an input */
    ls_kept kept; /* of which values `backward` is made; default: LS_KEEPS_ALL */
    size_t (*scratch)(const ls_op *op, int64_t rows_per_shard); /* bytes each thread needs; default: 0 */
    bool unbatched; /* the output is not batched: one tensor, cut into no shards (tensor/tensor.h). Pieces
                       over shards ignore their range; such an op runs eagerly only, on one rank. Default:
                       batched */
    /* Of an op without a cut, whose sums join the step's: does `forward` add them over the local shards too,
     * into op->nodes? Absent: no. */
    bool (*sums_nodes)(const ls_op *op);
    /* Does `forward` write the gradient of in[0] as well, where a plan has a backward pass? Absent: no. */
    bool (*gives_gradient)(const ls_op *op);
    bool view; /* the output is the input under another shape: no pieces, no memory. Default: it is not */

    /* Optional, for ops that mix samples: vectors that are added over all shards. */
    ls_shard_piece sums;      /* partial sums per shard into op->sums */
    ls_cut_piece cut;         /* once op->reduced holds their sum over all shards */
    ls_shard_piece grad_sums; /* partial sums per shard into op->grad_sums */
    ls_cut_piece grad_cut;

    /* Optional, for ops with weights. */
    int64_t (*parts)(const ls_op *op); /* independent parts of the weight gradient, shared out over threads */
    ls_part_piece weight_grad;
    /* The same of several such ops at once, after everything else, where `together` says so of an op; it then
     * only adds what `backward` has left. Absent: no. */
    bool (*together)(const ls_op *op);
    void (*weight_grads)(ls_op *const *ops, int count, const ls_run *run, const ls_lane *lane);
    /* Does `backward` sum the weight gradient of each shard as well? Then it runs even where no input needs a
     * gradient, and computes x' again rather than have it stored, unless that takes a dropout or an
     * activation that is not cheap. Absent: no. */
    bool (*backward_sums_weights)(const ls_op *op);
    /* Present: the op has *factors*: its weight gradient is a function of all rows of x' and of dy, as
     * `backward` reads them, and of what that packs of them into op->factors: so many bytes for so many rows
     * in so many shards, which may be 0. So it can be computed over the shards of all ranks
     * (ls_graph_share()), and `backward` runs even where no input needs a gradient. */
    size_t (*factor_bytes)(const ls_op *op, int64_t rows, int shards);

    /* Optional, for fusion: what the op can be folded into, and what can be folded into it. */
    bool norm, elementwise; /* can be folded into a load: BatchNorm; activation or dropout */
    bool join;              /* the sum of two tensors, which can be folded into the load of an activation */
    bool loads_prologue;    /* forward and backward read in[0] through a prologue (ls_op_prologue(): a plan
                               refuses to run a class that does not), and dy through its twin */
    /* With loads_prologue: can this op's kernels fold the activation into that prologue, and its derivative
     * into the store of the gradient? Absent: none; activations before the op then have passes of their own. */
    bool (*folds)(const ls_op *op, const ls_activation *act);
    bool loads_join; /* with a residual in the prologue, and with what other readers of x' have written of its
                        gradient on the way back; with loads_prologue */
    bool stores_sums; /* forward can take the sums of a BatchNorm that follows */
    /* Do the stores that take sums of BatchNorms (or a BatchNorm's own pieces) make their cuts as well, where
     * all shards are here? Absent: no. */
    bool (*makes_cuts)(const ls_op *op);
    /* Of a BatchNorm: what its cuts are made with; valid until it is asked again. */
    const struct ls_batchnorm_cut *(*cut_arguments)(const ls_op *op, const ls_run *run);
    const struct ls_batchnorm_grad_cut *(*grad_cut_arguments)(const ls_op *op, const ls_run *run);

    /* Can its kernels read and write activations in bf16 (ls_tensor::narrow)? Absent: no. */
    bool (*narrow)(const ls_op *op);
} ls_op_class;

/* --- an op --- */

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
    bool *loaded;         /* where something is folded into the load: has ls_op_prologue() been called? */
} ls_fusion;

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
    ls_op *sums_by,
        *grad_sums_by; /* of a BatchNorm in a plan: whose store takes them; NULL: its own pieces */
    bool all_shards; /* the weight gradient is computed over the shards of all ranks of this host, run->all */
    void *factors;   /* class->factor_bytes, or NULL: nothing is packed */
    bool accumulate[LS_MAX_INPUTS]; /* += into in[i]->grad: another consumer has written it before */
    ls_fusion fusion;
};

/* --- putting one on a graph --- */

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

/* The most local rows of any batch up to the largest, at least 1. Not the rows of the largest: of 5 samples
 * in 16 shards none is in shard 5, of 3 samples one. */
int64_t ls_graph_rows(const ls_graph *graph);
/* How often ls_backward() has been called. */
int64_t ls_graph_pass(const ls_graph *graph);
/* The tensor whose memory this one is a view of: itself, mostly. */
ls_tensor *ls_tensor_base(ls_tensor *tensor);
/* --- what its kernels are given --- */

/* Bytes by which this rank's rows of a factor, like that tensor, lie behind the first row of the batch, where
 * the op's weight gradient is over the shards of all ranks; otherwise 0: its own rows are all. */
size_t ls_op_bytes_before(const ls_op *op, const ls_run *run, const ls_tensor *tensor);

/* The kernel arguments that an op's fusion, its inputs and the run amount to. */
ls_prologue ls_op_prologue(const ls_op *op, const ls_run *run);
ls_epilogue ls_op_epilogue(const ls_op *op, const ls_run *run);
ls_grad_prologue ls_op_grad_prologue(const ls_op *op);
ls_grad_epilogue ls_op_grad_epilogue(const ls_op *op, const ls_run *run);
/* Is the gradient of its input written by `forward`? */
bool ls_op_gives_gradient(const ls_op *op);
/* Is the cut of this BatchNorm made by the store that takes its sums? */
bool ls_op_cut_by_store(const ls_op *norm, const ls_run *run, bool grad);

#endif
