/* The table of layers/softmax_cross_entropy/softmax_cross_entropy.h for GPUs. */
#include "layers/softmax_cross_entropy/softmax_cross_entropy_cuda.h"

#include "layers/fusion_host_cuda.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

static ls_cuda_softmax arguments(const ls_softmax_args *a) {
    return (ls_cuda_softmax){.classes = (int)a->classes,
                             .damped = a->damped,
                             .x = a->x,
                             .labels = a->labels,
                             .sample = a->sample,
                             .clip = a->clip,
                             .scale = a->scale,
                             .probability = a->probability,
                             .loss = a->loss,
                             .dx = a->dx,
                             .sums = a->sums,
                             .nodes = a->nodes,
                             .with_gradient = a->with_gradient};
}

static void forward(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const ls_cuda_softmax a = arguments(args);
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    ls_cuda_softmax_nodes nodes = {.count = a.nodes ? shards->node_count : 0};
    for (int i = 0; i < nodes.count; i++) {
        nodes.first[i] = shards->node[i].first - shards->first;
        nodes.shards[i] = shards->node[i].count;
    }
    ls_softmax_forward_cuda(lane->device, &a, &s, &nodes);
}

static void backward(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const ls_cuda_softmax a = arguments(args);
    ls_softmax_backward_cuda(lane->device, &a, (int)shards->start[first], (int)shards->start[last]);
}

const ls_softmax_kernels ls_softmax_ref_cuda = {forward, backward};
