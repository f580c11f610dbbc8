/* Sums over all shards of all ranks in the one binary tree (core/shards.h). Ranks send the nodes that they
 * own whole; every addition above them is done here, in the tree's order, so the result has the same bits for
 * any number of ranks.
 *
 * Small vectors of doubles (BatchNorm sums): every rank gets all nodes and adds them itself, one message.
 *
 * Over several hosts ranks add in the windows of their hosts, and the rest crosses (dist/crossing.h). What
 * follows is for one host.
 *
 * The flat gradient, where ranks share a host's memory: every rank's gradient lies in its segment of the
 * window, parameters, moments and the sum of the gradient lie in the common region, once for all. Rank r
 * reads the r-th slice of all nodes, adds it, and updates that slice of the parameters. Otherwise by
 * messages: rank r gets all nodes' r-th slice, adds them, and the slices of the sum are gathered: a
 * reduce-scatter and an all-gather, each moving about 1 (P-1)/P of the vector per rank where P divides V;
 * every rank then updates everything. */
#ifndef LOCKSTEP_DIST_TREE_SUM_H
#define LOCKSTEP_DIST_TREE_SUM_H

#include "core/backend.h"
#include "core/shards.h"
#include "core/team.h"
#include "dist/comm.h"
#include "dist/crossing.h"
#include "dist/window.h"
#include "graph/graph.h"

typedef struct ls_tree_sum ls_tree_sum;

typedef struct ls_tree_sum_sizes {
    int64_t doubles;       /* of vectors, at most, in all */
    int64_t summed, total; /* elements of the gradient that are added, and of an arena (graph/parameters.h) */
    ls_dtype dtype;
    ls_instruction_set instruction_set; /* that adds gradients; one that this processor has */
    const ls_backend
        *backend; /* in whose memory vectors and gradients lie, where that is not the host's; else
                                  NULL: they are brought to the host, added there, and taken back */
    const ls_slice
        *complete; /* [complete_count] of the summed ones, in order: those that are in a window's sum
                              already when the rest is added to it. Copied */
    int complete_count;
    const ls_bucket *buckets; /* [bucket_count] for several hosts (dist/crossing.h). Copied */
    int bucket_count;
    void *host_nodes; /* ls_tree_sum_host_nodes() bytes in the common region of a window, aligned to 64, where
                         there are several hosts: what `complete` names lies here then, as sums over the ranks
                         of the host, [nodes of the host][summed] */
} ls_tree_sum_sizes;

/* Buffers are allocated here. comm, shards, team and window must outlive it. window: NULL, or one with
 * segments that hold the gradients. Local. */
ls_status ls_tree_sum_create(ls_comm *comm, ls_window *window, const ls_shards *shards, ls_team *team,
                             const ls_tree_sum_sizes *sizes, ls_tree_sum **sum);
void ls_tree_sum_destroy(ls_tree_sum **sum);

/* Bytes of a window: of its messages, which hold the vectors of doubles (longer ones go by MPI), of a segment
 * with the gradients of any of the ranks, and of an arena in the common region. */
enum { LS_TREE_SUM_MESSAGE = 1 << 18 };
size_t ls_tree_sum_segment(int shards, int ranks, const ls_tree_sum_sizes *sizes);
size_t ls_tree_sum_arena(const ls_tree_sum_sizes *sizes);
size_t ls_tree_sum_host_nodes(const ls_comm *comm, int shards, const ls_tree_sum_sizes *sizes);

/* The reducer that a graph calls at its cuts. Vectors lie where the lane runs: a lane without a device names
 * those of the host, whatever the back end is. */
ls_reducer ls_tree_sum_reducer(ls_tree_sum *sum);

/* The elements that are this rank's to update: all, or with a window a part; parts of different ranks do not
 * overlap and cover all. Local. */
ls_slice ls_tree_sum_slice(const ls_tree_sum *sum);

/* Adds the step's totals, as the reducer adds vectors. What any rank has written into the window before, all
 * see after it. Collective. */
ls_status ls_tree_sum_totals(ls_tree_sum *sum, const ls_partial *totals, int count, const ls_lane *lane);

/* Can anything of the gradient set out to other hosts when that stage of the plan is over? Local. */
bool ls_tree_sum_is_ready(const ls_tree_sum *sum, int stage);
/* All have come through that stage of the plan, and a sum of vectors after it: what is written of the gradient
 * sets out. */
ls_status ls_tree_sum_passed(ls_tree_sum *sum, int stage);
/* Instead of the following: no sum is wanted. Collective. */
ls_status ls_tree_sum_drop(ls_tree_sum *sum);

/* Adds the gradient over all nodes, after ls_tree_sum_totals(): gradient [nodes][summed], then [total -
 * summed], as in the parameters; with a window it is this rank's segment. The sum comes out in reduced
 * [total], with a window in its common region, for the elements of ls_tree_sum_slice(); those that are whole
 * every rank has written there by the next call. reduced may be gradient where there is one node and no
 * window. Collective. */
ls_status ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, void *reduced);

/* The lowest of the ranks' numbers, where they do not all have the same: with a window, in which each sees
 * after it what the others have written. Collective. */
ls_status ls_tree_sum_lowest(ls_tree_sum *sum, int64_t own, int64_t *lowest);

/* All ranks have updated their slices: in a window each sees those of the others after it. Collective. */
ls_status ls_tree_sum_updated(ls_tree_sum *sum);

#endif
