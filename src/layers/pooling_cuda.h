/* Launchers of max_pool and average_pool for GPUs (layers/pooling.h): rows [first, last). */
#ifndef LOCKSTEP_LAYERS_POOLING_CUDA_H
#define LOCKSTEP_LAYERS_POOLING_CUDA_H

#include <stdbool.h>

/* ls_pool_args */
typedef struct ls_cuda_pool {
    int height, width, channels, out_height, out_width;
    int kernel, stride, pad;
    bool all_ties, accumulate;
    const float *x, *dy;
    float *y, *dx;
} ls_cuda_pool;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_max_pool_forward_cuda(struct ls_device *device, const ls_cuda_pool *args, int first, int last);
void ls_max_pool_backward_cuda(struct ls_device *device, const ls_cuda_pool *args, int first, int last);
void ls_average_pool_forward_cuda(struct ls_device *device, const ls_cuda_pool *args, int first, int last);
void ls_average_pool_backward_cuda(struct ls_device *device, const ls_cuda_pool *args, int first, int last);
#ifdef __cplusplus
}
#else
#include "layers/pooling.h"

/* For the tables. */
ls_cuda_pool ls_cuda_pool_of(const ls_pool_args *args);
#endif

#endif
