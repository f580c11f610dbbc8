/* Launchers of flatten, global_average_pool and the sum of residual blocks for GPUs. Rows, or elements,
 * [first, last) of tensors as in layers/row_op.h and layers/residual/residual.h. */
#ifndef LOCKSTEP_LAYERS_ROW_OP_CUDA_H
#define LOCKSTEP_LAYERS_ROW_OP_CUDA_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ls_cuda_rows {
    int pixels, channels, first, last;
    bool accumulate;
    const float *from;
    float *to;
} ls_cuda_rows;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_flatten_forward_cuda(struct ls_device *device, const ls_cuda_rows *args);
void ls_flatten_backward_cuda(struct ls_device *device, const ls_cuda_rows *args);
void ls_global_average_pool_forward_cuda(struct ls_device *device, const ls_cuda_rows *args);
void ls_global_average_pool_backward_cuda(struct ls_device *device, const ls_cuda_rows *args);
void ls_residual_forward_cuda(struct ls_device *device, const float *a, const float *b, int64_t first,
                              int64_t last, float *y);
void ls_residual_backward_cuda(struct ls_device *device, const float *dy, bool accumulate, int64_t first,
                               int64_t last, float *dx);
#ifdef __cplusplus
}
#endif

#endif
