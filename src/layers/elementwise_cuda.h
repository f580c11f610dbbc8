/* Launchers of the table layers/elementwise.h for GPUs: rows [first, last). */
#ifndef LOCKSTEP_LAYERS_ELEMENTWISE_CUDA_H
#define LOCKSTEP_LAYERS_ELEMENTWISE_CUDA_H

#include "layers/fusion_args_cuda.h"

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
/* out = dy or out += dy; out may be dz itself */
void ls_elementwise_gradient_cuda(struct ls_device *device, const ls_cuda_grad_prologue *p, bool accumulate,
                                  int first, int last, void *out, bool narrow_out);
#ifdef __cplusplus
}
#endif

#endif
