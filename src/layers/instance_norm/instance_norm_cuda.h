/* Launchers of the table layers/instance_norm/instance_norm.h for GPUs. */
#ifndef LOCKSTEP_LAYERS_INSTANCE_NORM_CUDA_H
#define LOCKSTEP_LAYERS_INSTANCE_NORM_CUDA_H

#include "layers/fusion_args_cuda.h"

/* ls_instance_norm_args */
typedef struct ls_cuda_instance_norm {
    int pixels, channels;
    double eps;
    bool in_root, accumulate;
    const float *gamma, *beta, *x, *dy;
    float *y, *dx, *dgamma, *dbeta; /* the last two of one node */
    double *moments;
} ls_cuda_instance_norm;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
/* rows [first, last) */
void ls_instance_norm_forward_cuda(struct ls_device *device, const ls_cuda_instance_norm *args, int first,
                                   int last);
void ls_instance_norm_backward_cuda(struct ls_device *device, const ls_cuda_instance_norm *args, int first,
                                    int last);
/* dgamma and dbeta of a node of at most 256 shards */
void ls_instance_norm_weight_grad_cuda(struct ls_device *device, const ls_cuda_instance_norm *args,
                                       const ls_cuda_shards *node);
#ifdef __cplusplus
}
#endif

#endif
