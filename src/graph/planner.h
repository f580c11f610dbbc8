/* The inside of a plan, shared by the planner (plan.c; what is fused: plan_fusion.c; gradients:
 * plan_gradients.c), its memory (plan_memory.c) and the replay (plan_run.c). */
#ifndef LOCKSTEP_GRAPH_PLANNER_H
#define LOCKSTEP_GRAPH_PLANNER_H

#include <stdatomic.h>

#include "graph/internal.h"
#include "graph/plan.h"

typedef enum ls_piece_kind {
    LS_PIECE_SUMS,
    LS_PIECE_FORWARD,
    LS_PIECE_GRAD_SUMS,
    LS_PIECE_BACKWARD,
    LS_PIECE_WEIGHT_GRAD
} ls_piece_kind;

typedef struct ls_piece {
    ls_op *op;
    ls_piece_kind kind;
    size_t bytes;  /* of the buffers that it touches */
    int64_t first; /* of a weight gradient over all shards: number of its first part among those of all */
} ls_piece;

typedef struct ls_cut {
    ls_op *op;
    bool grad;
} ls_cut;

/* A stage: first the pieces over shards, in order, every thread on its own shards; then those over parts;
 * then one sum over all shards, threads and ranks for all cuts together, and what each cut makes of it. */
typedef struct ls_stage {
    int shard_first, shard_count; /* in plan->shard_pieces */
    int part_first, part_count;   /* in plan->part_pieces */
    int cut_first, cut_count;     /* in plan->cuts */
} ls_stage;

/* A buffer that lives from one stage to another; two that never live at once share memory. */
typedef struct ls_buffer {
    void **slot;
    size_t size, offset;
    bool shared; /* it lies in memory that ranks share .. */
    size_t
        row; /* .. and this rank's rows, of so many bytes, at their place in the batch; 0: at its beginning */
    int birth, death;
    int touched; /* number of the last piece that touches it */
} ls_buffer;

/* How far the planner is with an op. */
typedef struct ls_op_plan {
    bool needed;   /* the loss depends on it: it has a backward pass */
    bool folded;   /* into the load of another op: no pass of its own */
    bool absorbed; /* a BatchNorm whose backward pass happens in its producer's load of dy */
    bool loaded;   /* ls_fusion.loaded */
    bool sums_done, cut_done, forward_done;
    bool grad_sums_done, grad_cut_done, backward_done;
    ls_op *consumer;  /* the op that reads the output, where it is the only one or the op is folded into it */
    ls_tensor *place; /* whose gradient's memory that of the output lies in; NULL: its own */
} ls_op_plan;

struct ls_plan {
    ls_graph *graph;
    int threads;
    const ls_observer *observer; /* NULL: nobody */
    ls_plan_listener listener;
    ls_op_plan *ops;
    ls_piece *shard_pieces, *part_pieces;
    ls_op **together;            /* whose weight gradients come together, after the last stage */
    int together_count;
    ls_piece *all_shards_pieces; /* weight gradients over the shards of all ranks, after the last stage */
    ls_cut *cuts;
    ls_stage *stages;
    int shard_count, part_count, all_shards_count, cut_count, stage_count;
    ls_buffer *buffers;
    int buffer_count;
    void *memory;
    size_t memory_size, unshared_size;
    size_t touched_size;    /* of the piece that is looked at */
    int touching;           /* number of that piece */
    size_t shared_size;     /* of what lies in shared memory */
    int64_t shared_row;     /* of the batch, with which this rank's rows of it begin */
    const ls_op *_Atomic not_loaded; /* read its input itself, though something is folded into its load */
    atomic_bool not_finite; /* a weight gradient of the last replay */
    void *scratch;          /* [threads][scratch_size] */
    ls_lane *lanes;         /* [threads] */
    size_t scratch_size;
};

/* Decides what is folded into what, and which ops have a backward pass. */
void ls_plan_fuse(ls_plan *plan, bool fuse);

/* Decides which tensors are kept in bf16: images of which all who touch them say that they can. */
void ls_plan_narrow(ls_plan *plan);

/* The tensor whose gradient an op's backward piece writes for its input k; NULL: none. A folded residual
 * counts as input 1. */
ls_tensor *ls_gradient_target(const ls_op *op, int k);
/* The op that reads the target of op's input k: op itself, or the first one folded into its load. */
const ls_op *ls_direct_reader(const ls_op *op, int k);
/* Of several writes of a gradient all but the first add. */
void ls_plan_accumulate(ls_plan *plan);
/* Puts gradients with equal values, or of which one replaces the other, at one place. */
void ls_plan_share_gradients(ls_plan *plan);
/* In whose gradient's memory that of `tensor`, no view, lies. */
ls_tensor *ls_plan_gradient_place(const ls_plan *plan, ls_tensor *tensor);

/* Gives every buffer that the pieces touch an address. */
ls_status ls_plan_allocate(ls_plan *plan);
/* Views are where the tensors are that they are views of, and gradients at the places that they share. */
void ls_plan_set_views(ls_plan *plan);

/* Where the op's weight gradient can be computed over all shards at once, its parameters are marked as
 * `whole`, and their gradients are in the arena of sums; where these shards are those of several ranks, the
 * op is too (sharing.c). */
void ls_plan_take_all_shards(ls_plan *plan, ls_op *op);
/* Finds places in the shared memory for the factors of these gradients, and numbers their parts. */
ls_status ls_plan_share_factors(ls_plan *plan);
/* Gives this rank the parts that it begins with (core/work_queue.h), in every replay anew. */
void ls_plan_give_parts(const ls_plan *plan);
/* The next parts [*first, *last) for a thread of this rank, of one piece or several; false: none are left. */
bool ls_plan_take_parts(const ls_plan *plan, int64_t *first, int64_t *last);
/* This rank's rows begin with that row of those that are shared; true where that moves any, so that views
 * have to be set. */
bool ls_plan_move_shared(ls_plan *plan, int64_t row);
/* How many rows of the other ranks with which this one shares come before its own. */
int64_t ls_rows_before(const ls_run *run);

#endif
