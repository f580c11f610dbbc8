/* Launchers of the table layers/elementwise.h for GPUs: rows [first, last). */
#ifndef LOCKSTEP_LAYERS_ELEMENTWISE_CUDA_H
#define LOCKSTEP_LAYERS_ELEMENTWISE_CUDA_H

#include <stddef.h>

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/fusion_args_cuda.h"

/* Sums of both BatchNorms, and what their cuts are made with. */
typedef struct ls_cuda_elementwise_sums {
    ls_cuda_image_sums sums, residual_sums;
    ls_cuda_batchnorm_grad_cut norm, residual_norm;
    ls_cuda_shards shards;
} ls_cuda_elementwise_sums;
/* Can one launch take them? A thread has a sum of a channel; those of lines wait in shared memory. */
static inline bool ls_elementwise_takes_sums(int64_t pixels, int64_t width, int64_t channels) {
    return pixels > 1 && channels <= 128 && pixels / width * channels <= 2048;
}

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
/* out = x', and p->stored where it is set (out may be that) */
void ls_elementwise_forward_cuda(struct ls_device *device, const ls_cuda_prologue *p, int first, int last,
                                 void *out, bool narrow_out);
/* The gradient epilogue of dx' but its sums. */
void ls_elementwise_backward_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                  const ls_cuda_grad_epilogue *e, int first, int last, const void *dx,
                                  bool narrow);
/* The same with its sums, where one launch takes them. */
void ls_elementwise_backward_sums_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                       const ls_cuda_grad_epilogue *e, const ls_cuda_elementwise_sums *sums,
                                       const void *dx, bool narrow);
/* out = dy or out += dy; out may be dz itself */
void ls_elementwise_gradient_cuda(struct ls_device *device, const ls_cuda_grad_prologue *p, bool accumulate,
                                  int first, int last, void *out, bool narrow_out);
#ifdef __cplusplus
}
#endif

#endif
