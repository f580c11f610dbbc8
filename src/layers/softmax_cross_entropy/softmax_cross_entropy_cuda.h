/* Launchers of the table layers/softmax_cross_entropy/softmax_cross_entropy.h for GPUs. */
#ifndef LOCKSTEP_LAYERS_SOFTMAX_CROSS_ENTROPY_CUDA_H
#define LOCKSTEP_LAYERS_SOFTMAX_CROSS_ENTROPY_CUDA_H

#include "layers/fusion_args_cuda.h"

/* ls_softmax_args */
typedef struct ls_cuda_softmax {
    int classes;
    bool damped;
    const float *x;
    const uint8_t *labels;
    const uint32_t *sample;
    double clip, scale;
    float *probability, *loss, *dx;
    double *sums;
    double *nodes; /* or NULL */
    bool with_gradient;
} ls_cuda_softmax;

/* Nodes of the tree: the first shard of each among those of the call, and how many it has. */
typedef struct ls_cuda_softmax_nodes {
    int count, first[LS_MAX_NODES], shards[LS_MAX_NODES];
} ls_cuda_softmax_nodes;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_softmax_forward_cuda(struct ls_device *device, const ls_cuda_softmax *args,
                             const ls_cuda_shards *shards, const ls_cuda_softmax_nodes *nodes);
/* rows [first, last) */
void ls_softmax_backward_cuda(struct ls_device *device, const ls_cuda_softmax *args, int first, int last);
#ifdef __cplusplus
}
#endif

#endif
