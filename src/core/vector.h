/* What is done with numbers as they lie, whatever they mean: by the graph, by sums over ranks and by the
 * update, which have no kernels of their own. All functions are local and cannot fail; counts may be 0. */
#ifndef LOCKSTEP_CORE_VECTOR_H
#define LOCKSTEP_CORE_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/backend.h"
#include "core/lane.h"
#include "core/shards.h"

typedef struct ls_vector_kernels {
    /* Sums the owned shards' vectors in the tree: sums [local shards][length], which is used up; node n's sum
     * goes to nodes[n * stride ..]. */
    void (*tree)(const ls_shards *shards, int64_t length, double *sums, double *nodes, int64_t stride,
                 const ls_lane *lane);
    /* to[i] = value */
    void (*fill)(int64_t count, double value, void *to, const ls_lane *lane);
    /* to[i] += from[i] */
    void (*add)(int64_t count, const void *from, void *to, const ls_lane *lane);
    void (*copy)(size_t bytes, const void *from, void *to, const ls_lane *lane);
    /* Are all of them finite? */
    bool (*finite)(int64_t count, const void *x, const ls_lane *lane);
    /* sum of (2 (first + i) + 1) bits(x[i]) modulo 2^64: of any order, and changed by any one flipped bit */
    uint64_t (*bits)(int64_t count, const void *x, uint64_t first, const ls_lane *lane);
} ls_vector_kernels;

LS_KERNELS(ls_vector_kernels, ls_vector_ref);
LS_KERNELS_CUDA(ls_vector_kernels, ls_vector_doubles);

/* The table for doubles where the lane runs, whatever the back end's element type; lane may be NULL: the CPU. */
static inline const ls_vector_kernels *ls_vectors_of_doubles(const ls_lane *lane) {
    return lane && lane->device ? &ls_vector_doubles_cuda : &ls_vector_ref_f64;
}

#endif
