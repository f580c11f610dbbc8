/* The back end of a GPU. A program that holds none (LOCKSTEP_CUDA=off) has no such functions: their addresses
 * are then NULL, which train/device.c asks. */
#ifndef LOCKSTEP_CORE_BACKEND_CUDA_H
#define LOCKSTEP_CORE_BACKEND_CUDA_H

#include "core/backend.h"

/* Takes the device over, also on failure; set: the processor's kernels that add over ranks. LS_USAGE: no kernels
 * of that precision. ls_backend_cuda_destroy() after everything else that lies on it. Local. */
ls_status ls_backend_cuda_create(struct ls_device *device, ls_precision precision, ls_instruction_set set,
                                 const ls_backend **backend) LS_CUDA_IF_THERE;
void ls_backend_cuda_destroy(const ls_backend **backend) LS_CUDA_IF_THERE;

/* Does the program hold CUDA? */
static inline bool ls_backend_cuda_exists(void) {
#ifdef LS_CUDA
    return true;
#else
    return ls_backend_cuda_create != NULL;
#endif
}

#endif
