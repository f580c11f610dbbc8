/* The table of layers/instance_norm/instance_norm.h for GPUs. */
#include "layers/instance_norm/instance_norm_cuda.h"

#include "layers/fusion_host_cuda.h"
#include "layers/instance_norm/instance_norm.h"

/* With the gradients of node n. */
static ls_cuda_instance_norm arguments(const ls_instance_norm_args *a, int n) {
    return (ls_cuda_instance_norm){.pixels = (int)a->pixels,
                                   .channels = (int)a->channels,
                                   .eps = a->eps,
                                   .in_root = a->place == LS_EPS_IN_ROOT,
                                   .accumulate = a->accumulate,
                                   .gamma = a->gamma,
                                   .beta = a->beta,
                                   .x = a->x,
                                   .dy = a->dy,
                                   .y = a->y,
                                   .dx = a->dx,
                                   .dgamma = a->dgamma ? (float *)a->dgamma + n * a->node_stride : NULL,
                                   .dbeta = a->dbeta ? (float *)a->dbeta + n * a->node_stride : NULL,
                                   .moments = a->moments};
}

static void forward(const ls_instance_norm_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const ls_cuda_instance_norm args = arguments(a, 0);
    ls_instance_norm_forward_cuda(lane->device, &args, (int)shards->start[first], (int)shards->start[last]);
}

static void backward(const ls_instance_norm_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const ls_cuda_instance_norm args = arguments(a, 0);
    ls_instance_norm_backward_cuda(lane->device, &args, (int)shards->start[first], (int)shards->start[last]);
}

static int64_t weight_grad_parts(const ls_instance_norm_args *a) {
    (void)a;
    return 1;
}

static void weight_grad(const ls_instance_norm_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    for (int n = 0; first < last && n < shards->node_count; n++) {
        const int begin = shards->node[n].first - shards->first;
        const ls_cuda_shards node = ls_cuda_shards_of(shards, begin, begin + shards->node[n].count);
        const ls_cuda_instance_norm args = arguments(a, n);
        ls_instance_norm_weight_grad_cuda(lane->device, &args, &node);
    }
}

const ls_instance_norm_kernels ls_instance_norm_ref_cuda = {forward, backward, weight_grad_parts,
                                                            weight_grad};
