/* Launchers of the convolution by tensor cores (core/mma_cuda.h), for C and for .cu files; layouts are those of
 * conv2d.h.
 *
 * One launch goes through a convolution forward, one back: dy and x' of a strip of lines are loaded once,
 * through what is folded into their loads, and both gradients are products of what then lies in shared memory.
 * The sums of BatchNorms are taken from what has been stored, of a line, of an image; the last block adds those
 * of the images, and, where all shards are here, of the shards, and makes the BatchNorm's vectors of them.
 * Weight gradients are left as partial sums of parts of each shard; one launch adds those of all convolutions.
 *
 * What a launch moves in bf16, with y of 2 n bytes and x of 2 m: forward 2 m (x; 2 m for a residual and for an
 * x' that is kept) + 2 n; back 4 n (dz, y) + 4 m (x, dz; 2 m each for a residual, others' gradients and a
 * residual's own). Weights come through the caches, 4 bytes each, once a block. */
#ifndef LOCKSTEP_LAYERS_CONV2D_TENSOR_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_TENSOR_CUDA_H

#include <stddef.h>

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/fusion_args_cuda.h"

typedef struct ls_conv2d_cuda_shape {
    int height, width, inputs, out_height, out_width, outputs, kernel_h, kernel_w, stride, pad;
    bool tf32; /* factors, else bf16 */
} ls_conv2d_cuda_shape;

/* How an image is gone through: so many lines of y at a time; so many outputs (forward), or inputs and outputs
 * (back), and taps of a weight gradient, a block; parts of a shard. All by the shape alone. 0 lines: it does
 * not fit into shared memory. */
typedef struct ls_conv2d_cuda_strips {
    int lines, columns, parts;
    size_t bytes; /* of shared memory */
} ls_conv2d_cuda_strips;

typedef struct ls_conv2d_cuda_tensor_forward {
    ls_conv2d_cuda_shape shape;
    ls_conv2d_cuda_strips strips;
    const float *weight, *bias;
    ls_cuda_prologue in; /* stores x' only where its pixels are all read: ls_conv2d_cuda_covers() */
    void *y;
    bool narrow_y;
    ls_cuda_image_sums sums;
    ls_cuda_batchnorm_cut norm; /* .. and this is made of them */
    ls_cuda_shards shards;
} ls_conv2d_cuda_tensor_forward;

typedef struct ls_conv2d_cuda_tensor_backward {
    ls_conv2d_cuda_shape shape;
    ls_conv2d_cuda_strips strips;
    const float *weight;
    ls_cuda_prologue in;
    ls_cuda_grad_prologue dy;
    ls_cuda_grad_epilogue dx;
    bool has_dx;
    float *dweight,
        *dbias; /* partial sums [local shards][parts][taps][inputs][outputs], [..][outputs], or NULL */
    ls_cuda_image_sums sums, residual_sums;
    ls_cuda_batchnorm_grad_cut norm, residual_norm;
    ls_cuda_shards shards;
} ls_conv2d_cuda_tensor_backward;

/* Partial sums of one array of weights to the nodes'. */
typedef struct ls_conv2d_cuda_job {
    const float *from; /* [local shards][parts][count] */
    float *to;         /* [nodes], node_stride apart */
    int count, parts;
} ls_conv2d_cuda_job;
enum { LS_CONV2D_CUDA_JOBS = 64 };
typedef struct ls_conv2d_cuda_jobs {
    int count, nodes;
    int first[LS_MAX_NODES], shards[LS_MAX_NODES]; /* of a node */
    int64_t node_stride;
    ls_conv2d_cuda_job list[LS_CONV2D_CUDA_JOBS];
} ls_conv2d_cuda_jobs;

/* Does the forward pass read every pixel of x? */
static inline bool ls_conv2d_cuda_covers(const ls_conv2d_cuda_shape *s) {
    return s->stride <= s->kernel_h && s->stride <= s->kernel_w &&
           (s->out_height - 1) * s->stride - s->pad + s->kernel_h >= s->height &&
           (s->out_width - 1) * s->stride - s->pad + s->kernel_w >= s->width;
}

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
ls_conv2d_cuda_strips ls_conv2d_cuda_forward_strips(const ls_conv2d_cuda_shape *shape);
ls_conv2d_cuda_strips ls_conv2d_cuda_backward_strips(const ls_conv2d_cuda_shape *shape);
void ls_conv2d_cuda_tensor_forward_launch(struct ls_device *device,
                                          const ls_conv2d_cuda_tensor_forward *args);
void ls_conv2d_cuda_tensor_backward_launch(struct ls_device *device,
                                           const ls_conv2d_cuda_tensor_backward *args);
void ls_conv2d_cuda_add_parts(struct ls_device *device, const ls_conv2d_cuda_jobs *jobs);
#ifdef __cplusplus
}
#endif

#endif
