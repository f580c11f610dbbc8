/* Launchers of the convolution's kernels for a device, for C and for .cu files. Arrays are device memory, in
 * the layouts of conv2d.h. All of them enqueue work and return. */
#ifndef LOCKSTEP_LAYERS_CONV2D_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_CUDA_H

#include <stdint.h>

#include "layers/fusion_args_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;

/* A product of images with weights: y from x', or, `back`, dx' from dy. */
typedef struct ls_conv2d_cuda_product {
    int from_height, from_width, terms; /* of what is multiplied: x', or dy */
    int to_height, to_width, columns;   /* of y, or of dx' */
    int padded; /* columns of the weights: a multiple of 4, so that four are read at once */
    int kernel_h, kernel_w, stride, pad;
    int tile; /* of Winograd's algorithm: 2, 4, or 0: direct sums */
    bool back;
    bool rounded;         /* the factors are rounded to bf16 first */
    int first, rows;      /* of the images */
    const float *weights; /* [taps or positions][terms][padded], of ls_conv2d_cuda_.._weights() */
} ls_conv2d_cuda_product;

static inline int64_t ls_conv2d_cuda_weights_size(const ls_conv2d_cuda_product *p) {
    const int64_t places = p->tile ? (p->tile + 2) * (p->tile + 2) : p->kernel_h * p->kernel_w;
    return places * p->terms * p->padded;
}

/* What y is read through and stored with: fused, or, if x' is plain, x' itself. */
typedef struct ls_conv2d_cuda_forward {
    const float *plain; /* x', or NULL: in */
    ls_cuda_prologue in;
    const float *bias; /* or NULL */
    float *y;
} ls_conv2d_cuda_forward;

/* The same of dx': from dy, which is plain. */
typedef struct ls_conv2d_cuda_backward {
    const float *dy;
    ls_cuda_prologue in;
    ls_cuda_grad_epilogue out;
} ls_conv2d_cuda_backward;

/* The weights [taps][inputs][outputs], for dx' transposed, for Winograd's algorithm turned and transformed, as
 * p->weights wants them. */
void ls_conv2d_cuda_direct_weights(struct ls_device *device, const ls_conv2d_cuda_product *p,
                                   const float *weight, float *to);
void ls_conv2d_cuda_winograd_weights(struct ls_device *device, const ls_conv2d_cuda_product *p,
                                     const float *weight, float *to);
void ls_conv2d_cuda_direct(struct ls_device *device, const ls_conv2d_cuda_product *p,
                           const ls_conv2d_cuda_forward *forward, const ls_conv2d_cuda_backward *backward);
void ls_conv2d_cuda_winograd(struct ls_device *device, const ls_conv2d_cuda_product *p,
                             const ls_conv2d_cuda_forward *forward, const ls_conv2d_cuda_backward *backward);

/* The tree over local shards, by nodes. */
typedef struct ls_conv2d_cuda_nodes {
    int count, first[LS_MAX_NODES], shards[LS_MAX_NODES];
} ls_conv2d_cuda_nodes;

/* dw from x' and dy as they are stored. */
typedef struct ls_conv2d_cuda_gradient {
    int height, width, inputs, out_height, out_width, outputs;
    int kernel_h, kernel_w, stride, pad;
    int tile;
    bool rounded;
    const float *x, *dy;
    float *room;            /* ls_conv2d_cuda_gradient_room() floats */
    float *dweight, *dbias; /* [nodes], node_stride apart; dbias or NULL */
    int64_t node_stride;
} ls_conv2d_cuda_gradient;

int64_t ls_conv2d_cuda_gradient_room(const ls_conv2d_cuda_gradient *g, int shards, int64_t rows);
void ls_conv2d_cuda_add_gradient(struct ls_device *device, const ls_conv2d_cuda_gradient *g,
                                 const ls_cuda_shards *shards, const ls_conv2d_cuda_nodes *nodes);

#ifdef __cplusplus
}
#endif

#endif
