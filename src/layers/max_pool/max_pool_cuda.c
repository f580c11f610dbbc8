/* The table of layers/max_pool/max_pool.h for GPUs. */
#include "layers/max_pool/max_pool.h"
#include "layers/pooling_cuda.h"

static void forward(const ls_pool_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const ls_cuda_pool p = ls_cuda_pool_of(args);
    ls_max_pool_forward_cuda(lane->device, &p, (int)shards->start[first], (int)shards->start[last]);
}

static void backward(const ls_pool_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const ls_cuda_pool p = ls_cuda_pool_of(args);
    ls_max_pool_backward_cuda(lane->device, &p, (int)shards->start[first], (int)shards->start[last]);
}

const ls_pool_kernels ls_max_pool_ref_cuda = {forward, backward};
