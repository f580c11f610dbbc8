/* What several blocks have left in memory, finished by the last of them: in one launch what would take two.
 *
 * Every thread of each block calls ls_last_block() once its own results are written, and before any returns;
 * in the block that comes last, and there alone, the results of all are to be seen. Who is last cannot be
 * seen in the bits as long as what it does is in an order of its own. `counter` is one of
 * ls_device_counters(), which is 0 again afterwards: launches that follow one another in the stream may take
 * the same. */
#ifndef LOCKSTEP_CORE_LAST_BLOCK_CUDA_H
#define LOCKSTEP_CORE_LAST_BLOCK_CUDA_H

#include "core/kernel_cuda.h"

/* Of `blocks` blocks that call with this counter, is this the last? The same answer for all threads of a
 * block. */
__device__ __forceinline__ bool ls_last_block(unsigned *counter, unsigned blocks) {
    int last = 0;
    __threadfence(); /* what this thread has written, before the block is counted */
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) == blocks - 1;
        if (last) atomicExch(counter, 0u);
    }
    last = __syncthreads_or(last);
    if (last) __threadfence(); /* and what others have, before it is read */
    return last != 0;
}

#endif
