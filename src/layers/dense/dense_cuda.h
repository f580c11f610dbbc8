/* Launchers of the table layers/dense/dense.h for GPUs. */
#ifndef LOCKSTEP_LAYERS_DENSE_CUDA_H
#define LOCKSTEP_LAYERS_DENSE_CUDA_H

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/fusion_args_cuda.h"

/* `rounded`: the factors of products are rounded to bf16 first. */

/* y = x' w + bias of rows [first, last) */
typedef struct ls_cuda_dense {
    int first, last, inputs, outputs;
    bool rounded;
    const float *weight; /* [inputs][outputs] */
    ls_cuda_prologue in;
    const float *bias; /* or NULL */
    float *y;
    ls_cuda_batchnorm_sums sums; /* of y; without `sums` where nobody asks for any */
    ls_cuda_shards shards;       /* those of the rows */
} ls_cuda_dense;

/* dx' = dy w^T through the gradient epilogue */
typedef struct ls_cuda_dense_back {
    int first, last, inputs, outputs;
    bool rounded;
    const float *weight;
    ls_cuda_grad_prologue dy; /* what it would store is not stored: the weight gradient loads it likewise */
    ls_cuda_prologue in;
    ls_cuda_grad_epilogue dx;
    ls_cuda_batchnorm_sums sums; /* of what dx stores, where an image of x is one pixel; as above */
    ls_cuda_shards shards;
} ls_cuda_dense_back;

/* dw [inputs][outputs] and db [outputs] (or NULL) of one node: shards first .. first + count - 1 of the local
 * ones, count a power of two up to 2^LS_CUDA_TREE_DEPTH */
enum { LS_CUDA_TREE_DEPTH = 8 };
typedef struct ls_cuda_dense_weights {
    int inputs, outputs;
    bool rounded;
    const float *x;
    ls_cuda_grad_prologue dy;
    float *dw, *db;
} ls_cuda_dense_weights;

/* Of several layers at once; each has a node of as many shards. */
enum { LS_CUDA_DENSE_JOBS = 12 };
typedef struct ls_cuda_dense_jobs {
    int count;
    ls_cuda_dense_weights list[LS_CUDA_DENSE_JOBS];
} ls_cuda_dense_jobs;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_dense_forward_cuda(struct ls_device *device, const ls_cuda_dense *args);
void ls_dense_backward_cuda(struct ls_device *device, const ls_cuda_dense_back *args);
void ls_dense_weight_grads_cuda(struct ls_device *device, const ls_cuda_dense_jobs *jobs,
                                const ls_cuda_shards *node);
#ifdef __cplusplus
}
#endif

#endif
