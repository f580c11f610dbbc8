/* Fixed shards and the tree over them: what makes the result independent of the number of ranks.
 *
 * A global batch of B samples is cut into V shards; shard s holds samples floor(sB/V) .. floor((s+1)B/V) - 1
 * whatever the number of ranks, and may be empty. Rank r of P owns shards floor(rV/P) .. floor((r+1)V/P) - 1.
 * Whatever mixes samples is summed inside a shard in a fixed order and then over the shards in one complete
 * binary tree of V leaves. A rank adds only inside its *nodes*, the maximal aligned subtrees whose leaves it
 * owns all, and sends those on. */
#ifndef LOCKSTEP_CORE_SHARDS_H
#define LOCKSTEP_CORE_SHARDS_H

#include <stdint.h>

#include "core/status.h"

enum { LS_MAX_SHARDS = 256, LS_MAX_TREE_DEPTH = 9, LS_MAX_NODES = 16 };

typedef struct ls_node {
    int first, count; /* shards first .. first+count-1; count a power of two that divides first */
} ls_node;

typedef struct ls_shards {
    int total;        /* V, a power of two */
    int first, count; /* shards of this rank */
    int64_t batch;    /* B, samples of the global batch at hand */
    int64_t start[LS_MAX_SHARDS +
                  1]; /* start[s - first]: first local row of owned shard s; the last entry: rows */
    int64_t offset;   /* position in the global batch of local row 0 */
    int node_count;
    ls_node node[LS_MAX_NODES];
} ls_shards;

/* The shards of rank `rank` of `size` for batches of `batch` samples.
 * LS_USAGE: total is not a power of two up to 256, or size > total. Local. */
ls_status ls_shards_create(ls_shards *shards, int total, int rank, int size, int64_t batch);

/* The shards of ranks [rank, end) of `size` together, whose shards follow one another; as above. */
ls_status ls_shards_create_joint(ls_shards *shards, int total, int rank, int end, int size, int64_t batch);

/* The same cut for another number of samples (the last batch of an epoch). */
void ls_shards_set_batch(ls_shards *shards, int64_t batch);

/* The nodes of another rank's run of shards [first, first+count). Returns how many. */
int ls_shards_nodes(int total, int first, int count, ls_node nodes[LS_MAX_NODES]);

/* The rows of local shards; local shard i is shard first + i. */
static inline int64_t ls_shards_rows(const ls_shards *shards) {
    return shards->start[shards->count];
}

/* The tree, walked depth first: after leaf i of a node (i = 0, 1, ..) its sum is merged this many times with
 * the topmost pending sum, `pending + sum` in that order, and then becomes pending itself:
 *
 *     for (int i = 0; i < node.count; i++) {
 *         sum = leaf i;
 *         for (int m = ls_tree_merges(i); m > 0; m--) sum = pending[--depth] + sum;
 *         pending[depth++] = sum;
 *     }                                     // depth == 1, pending[0] is the node's sum
 *
 * The number of merges is the number of trailing ones of i, as in a binary counter. */
static inline int ls_tree_merges(int leaf) {
#ifdef LS_TEST_SEQUENTIAL_SUM /* the mutant that tests/train/test_ranks must catch: shards summed one by one \
                               */
    return leaf > 0;
#else
    return __builtin_ctz(~(unsigned)leaf);
#endif
}

#endif
