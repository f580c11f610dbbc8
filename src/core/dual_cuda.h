/* To be included before any source that is marked with core/dual.h, in a file of kernels. */
#ifndef LOCKSTEP_CORE_DUAL_CUDA_H
#define LOCKSTEP_CORE_DUAL_CUDA_H

#define LS_FOR_CUDA
#include "core/dual.h"
#include "core/kernel_cuda.h"

#endif
