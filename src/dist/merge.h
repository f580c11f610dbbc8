/* The adding of the nodes of all ranks: the part of the tree above what one rank owns (core/shards.h). */
#ifndef LOCKSTEP_DIST_MERGE_H
#define LOCKSTEP_DIST_MERGE_H

#include <stdint.h>

#include "core/backend.h"
#include "core/shards.h"

/* One addition, to = left + right. An operand is a node (0, 1, ..) or an earlier sum, which lies on a stack
 * (~place). */
typedef struct ls_merge {
    int left, right, to; /* to: place on the stack; 0 holds the sum of all in the end */
} ls_merge;

typedef struct ls_merges {
    int count; /* one less than there are nodes */
    ls_merge merge[LS_MAX_SHARDS];
} ls_merges;

/* The order in which these nodes, which cover all shards from left to right, are added. */
void ls_merges_find(ls_merges *merges, const ls_node *nodes, int count);

/* out[0 .. length) = the sum of the nodes in that order; node[i]: the elements of node i. `out` may be one of
 * them. The instruction set, one that this processor has, changes no bit. */
void ls_merges_add(const ls_merges *merges, ls_dtype dtype, ls_instruction_set set, const void *const *node,
                   int64_t length, void *out);

/* The same for one precision and tier. */
typedef void ls_merges_function(const ls_merges *merges, const void *const *node, int64_t length, void *out);
ls_merges_function ls_merges_add_ref_f32, ls_merges_add_ref_f64;
#ifdef __x86_64__
ls_merges_function ls_merges_add_ref_avx2, ls_merges_add_ref_avx512;
#endif

#endif
