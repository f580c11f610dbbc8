/* What kernels of CUDA are given: the structs of graph/fusion.h and core/shards.h as plain values, which fit
 * into the arguments of a launch. For C, which fills them in (layers/fusion_cuda.c), and for C++. */
#ifndef LOCKSTEP_LAYERS_FUSION_ARGS_CUDA_H
#define LOCKSTEP_LAYERS_FUSION_ARGS_CUDA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/now.h"
#include "core/shards.h"

/* Local shards first .. first + count - 1; the rows of shard first + i begin at start[i]. */
typedef struct ls_cuda_shards {
    int first, count;
    int start[LS_MAX_SHARDS + 1];
} ls_cuda_shards;

typedef struct ls_cuda_activation {
    int kind, derivative; /* ls_cuda_activation_kind, ls_derivative */
    double parameter;
} ls_cuda_activation;

typedef struct ls_cuda_normalisation {
    const float *mean, *scale, *shift;
} ls_cuda_normalisation;

typedef struct ls_cuda_dropout {
    bool active;
    uint32_t key[2], step, purpose_and_op, threshold;
    const struct ls_now *now; /* the step is the one there; NULL: here */
    float scale;
    const uint32_t *sample;
} ls_cuda_dropout;

/* Activations and their gradients are void here: they are stored in fp32 or, where a flag `narrow` says so, in
 * bf16 (ls_tensor::narrow). Vectors never are. */
typedef struct ls_cuda_prologue {
    int length, channels, width;            /* elements of a row, and of a pixel; pixels of a line */
    bool narrow_x, narrow_residual, narrow; /* the last: stored, and a gradient of x' */
    const void *x;
    ls_cuda_normalisation norm;
    const void *residual;
    ls_cuda_normalisation residual_norm;
    ls_cuda_activation act;
    ls_cuda_dropout dropout;
    void *stored;
} ls_cuda_prologue;

typedef struct ls_cuda_grad_prologue {
    int length, channels;
    bool narrow_dz, narrow_y;
    const void *dz, *y;
    const float *mean, *a, *b, *c;
    void *stored;
} ls_cuda_grad_prologue;

typedef struct ls_cuda_grad_epilogue {
    bool narrow_dz, narrow_dresidual;
    const void *others;
    void *dz, *dresidual;
    bool accumulate, dresidual_accumulate;
    double *sums, *residual_sums;
} ls_cuda_grad_epilogue;

#endif
