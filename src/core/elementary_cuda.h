/* core/elementary.h in kernels: the CPU's functions, from their source. */
#ifndef LOCKSTEP_CORE_ELEMENTARY_CUDA_H
#define LOCKSTEP_CORE_ELEMENTARY_CUDA_H

#include <math.h>
#include <string.h>

#include "core/dual_cuda.h"

namespace ls_elementary {
#include "core/elementary.c"
}

using ls_elementary::ls_cos;
using ls_elementary::ls_erf;
using ls_elementary::ls_exp;
using ls_elementary::ls_expf;
using ls_elementary::ls_log_e;
using ls_elementary::ls_sin;
using ls_elementary::ls_tanh;
using ls_elementary::ls_tanhf;

#endif
