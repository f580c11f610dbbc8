/* The tree over the shards of a node (core/shards.h) in registers: leaves come in order, and level l of the
 * pending sums has one where bit l of the leaf's number is set. */
#ifndef LOCKSTEP_LAYERS_TREE_CUDA_H
#define LOCKSTEP_LAYERS_TREE_CUDA_H

#include "core/kernel_cuda.h"

/* Merges the N sums of leaf i with the pending ones of their tree, of at most 2^LEVELS leaves. After the last
 * leaf of a node they are the node's. Each level is written out, or the pending sums would lie in memory. */
template <int LEVELS, int N, class Number>
__device__ __forceinline__ void ls_merge_leaf(int i, Number (&sum)[N], Number (&pending)[LEVELS][N]) {
    bool carried = true;
    UNROLL
    for (int l = 0; l < LEVELS; l++) {
        if (!carried) break;
        carried = i >> l & 1;
        UNROLL
        for (int m = 0; m < N; m++) {
            if (carried)
                sum[m] = pending[l][m] + sum[m];
            else
                pending[l][m] = sum[m];
        }
    }
}

#endif
