/* The graph, for those who plan: a recorded graph laid out once and replayed. */
#ifndef LOCKSTEP_GRAPH_PLAN_H
#define LOCKSTEP_GRAPH_PLAN_H

#include "graph/graph.h"
#include "graph/observer.h"

typedef struct ls_plan ls_plan;

/* Memory that all ranks of a host see, aligned to 64 bytes: for the factors of weight gradients, and for who
 * computes which part of them. */
typedef struct ls_sharing {
    void *memory;
    size_t bytes; /* at least ls_sharing_bytes() */
    int rank, ranks; /* of the host */
    int64_t row;     /* with which this rank's rows begin among theirs, in the largest batch */
    void *nodes; /* where there are other hosts: [nodes of this host][summed], seen by all too, for the
                    gradients over the shards of its ranks; else NULL */
} ls_sharing;
size_t ls_sharing_bytes(const ls_parameters *parameters, ls_dtype dtype, int64_t batch, int shards,
                        int ranks);
/* Before ls_plan_create(), which then computes the weight gradients of ops with factors over the shards of
 * all ranks that share (sharing.c), straight into parameters->reduced or, if there are other hosts, into
 * `nodes`, and marks their parameters as `all_shards` or `host_shards`. The ranks must share that memory too,
 * and every rank must plan the same graph. */
void ls_graph_share(ls_graph *graph, const ls_sharing *sharing);

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
 * returned; the next replay must not begin before. Returns whether all gradients of ops with factors that this
 * rank has computed in the replay and here are finite. Local. */
bool ls_plan_run_all_shards(ls_plan *plan, const ls_run *run, struct ls_team *team);

/* Watches every replay from now on; NULL: nobody does. The observer must outlive them. */
void ls_plan_observe(ls_plan *plan, const ls_observer *observer);

/* Who is told, in a replay, that a stage is over with a sum over all ranks: all of them have come through it.
 * Asked first; NULL: nobody is told. */
typedef struct ls_plan_listener {
    bool (*wants)(void *self, int stage);
    ls_status (*passed)(void *self, int stage);
    void *self;
} ls_plan_listener;
void ls_plan_listen(ls_plan *plan, ls_plan_listener listener);
/* The last stage in which the parameter's gradient is written; INT_MAX: it is written after them, if at all. */
int ls_plan_stage_of(const ls_plan *plan, int parameter);

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
