/* Sums over all shards of all ranks in the one binary tree (core/shards.h). Ranks send the nodes that they own whole;
 * every addition above them is done here, in the tree's order, so the result has the same bits for any number of ranks.
 *
 * Small vectors of doubles (BatchNorm sums): every rank gets all nodes and adds them itself, one message. The flat
 * gradient: rank r gets all nodes' r-th slice, adds them, and the slices of the sum are gathered: a reduce-scatter and an
 * all-gather, each moving about 1 (P-1)/P of the vector per rank where P divides V. */
#ifndef LOCKSTEP_DIST_TREE_SUM_H
#define LOCKSTEP_DIST_TREE_SUM_H

#include "core/backend.h"
#include "core/shards.h"
#include "core/team.h"
#include "dist/comm.h"
#include "graph/graph.h"

typedef struct ls_tree_sum ls_tree_sum;

/* For vectors of up to `doubles` doubles in all and a gradient of `elements` elements of type dtype; buffers are
 * allocated here. comm, shards and team must outlive it. Local. */
ls_status ls_tree_sum_create(ls_comm *comm, const ls_shards *shards, ls_team *team, int64_t doubles, int64_t elements,
                             ls_dtype dtype, ls_tree_sum **sum);
void ls_tree_sum_destroy(ls_tree_sum **sum);

/* The reducer that a graph calls at its cuts. */
ls_reducer ls_tree_sum_reducer(ls_tree_sum *sum);

/* Adds the gradient over all nodes: gradient [nodes][elements] (node_stride = elements), the sum comes out at node 0;
 * and, in the same messages, the doubles of `tail`. Collective. */
ls_status ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, const ls_partial *tail);

#endif
