/* 2-d convolution (cross-correlation, as in PyTorch), channels last:
 * y[n][i][j][k] = sum over (u, v, c) of x'[n][i stride + u - pad][j stride + v - pad][c] w[u][v][c][k] +
 * bias[k], x' by the prologue, zero outside the image.
 *
 * Weights are kept [kernel_h][kernel_w][inputs][outputs]; checkpoints hold PyTorch's
 * [outputs][inputs][kernel_h][kernel_w]. The order of the sums is fixed: y       : over u, v, c in increasing
 * order, taps outside the image left out, bias added last; dx'     : over u, v, k in increasing order; dw, db
 * : inside a shard over rows, then i, j in increasing order, starting from 0; over shards by the tree. The
 * vector kernels (conv2d_vector.c) keep it with a multiply-add that rounds once, and to the same bits in
 * every tier, but for kernels of 3x3 with stride 1 and enough channels (is_winograd() of conv2d_layout.h, by
 * shape alone). Those are computed by Winograd's F(2x2, 3x3), as fixed and as independent of tiers, ranks,
 * threads and calls, over tiles of 2x2 pixels of y or dx', zeros behind the last (matrices:
 * conv2d_winograd.h): (B^T x' B), (G w G^T), (A dy A^T): the matrix at the left first; sums as (d1 + d2),
 * ((w0 + w2) + w1) / 2; products of each of the 16 positions, from 0, with a multiply-add that rounds once:
 *     y, dx' : over c, or over k, in increasing order, then A from the right, A^T from the left, as (m0 + m1)
 * + m2; dw     : inside a shard over rows, then tiles line by line, then G^T from the left, G from the right,
 * as (m1 + m2) / 2 + m0; over shards by the tree. A value that is not finite spreads over its tile. Errors
 * are bounded in tests/layers/naive_winograd.h. In bf16 all is computed directly: each factor is rounded
 * first, the order stays the same, and so do the bits, except where AVX512_BF16 is used: there factors,
 * products and sums that are denormal count as 0, and x' of a factor that does is not positive to its relu.
 * AMX in bf16 computes kernels of 3x3 with stride 1 and 16, or a multiple of 32, inputs and outputs on its
 * tiles, all others as AVX512_BF16 does. Sums are taken in steps as in dense.h, padding counts as zeros, and
 * a step is y      : u, v and 32 inputs; with 16 inputs u and v = 0, 1, or v = 2 alone; dx'    : the same for
 * the kernel turned round (2 - u and 2 - v for u and v) and k for c; dw     : 32 pixels of an image of y, its
 * lines one after the other, each but the last with zeros behind it up to the next even number from out_width
 * + 2, the last one up to an even number; rows in increasing order. What stands beside those zeros in x', of
 * its border or the next line, is multiplied with them. */
#ifndef LOCKSTEP_LAYERS_CONV2D_H
#define LOCKSTEP_LAYERS_CONV2D_H

#include <stddef.h>

#include "core/lane.h"
#include "core/shards.h"
#include "graph/fusion.h"
#include "layers/layer.h"

typedef struct ls_conv2d_args {
    int64_t height, width, inputs;          /* of x */
    int64_t out_height, out_width, outputs; /* of y: (height + 2 pad - kernel_h) / stride + 1, .. */
    int64_t kernel_h, kernel_w, stride, pad;
    const void *weight; /* [kernel_h][kernel_w][inputs][outputs] */
    ls_prologue in;     /* pixels = height * width, channels = inputs */
    ls_epilogue out;
    void *y;             /* [rows][out_height][out_width][outputs] */
    ls_grad_prologue dy; /* pixels = out_height * out_width, channels = outputs */
    ls_grad_epilogue dx;
    void *dweight, *dbias; /* [nodes], node_stride elements apart; dbias or NULL */
    int64_t node_stride;
    void *shard_gradients; /* [local shards][shard_gradient_elements()], or NULL: no weight gradient is wanted
                            */
    bool downward; /* work on the last shard first: what the op before has left in the caches. The bits are
                      the same */
} ls_conv2d_args;

/* As ls_dense_kernels (layers/dense/dense.h), function for function. Kernels with shard_gradient_elements
 * take the weight gradient in `backward`, which sees dy and x' anyway, into shard_gradients: weight_grad only
 * adds those of the shards, neither x' nor dy need be stored, and dy.stored is not written. Without it (NULL)
 * they do not look at shard_gradients. */
typedef struct ls_conv2d_kernels {
    /* Which activations do prologue and gradient epilogue fold? The others never come here. */
    bool (*folds)(const ls_activation *act);
    size_t (*scratch_bytes)(const ls_conv2d_args *args, int64_t rows_per_shard);
    void (*forward)(const ls_conv2d_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    void (*backward)(const ls_conv2d_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane);
    int64_t (*weight_grad_parts)(const ls_conv2d_args *args);
    void (*weight_grad)(const ls_conv2d_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane);
    int64_t (*shard_gradient_elements)(const ls_conv2d_args *args);
} ls_conv2d_kernels;

extern const ls_conv2d_kernels ls_conv2d_ref_f32, ls_conv2d_ref_f64, ls_conv2d_ref_bf16_f32;
#ifdef __x86_64__
extern const ls_conv2d_kernels ls_conv2d_vector_avx2, ls_conv2d_vector_avx512;
/* In bf16, for LS_AVX2, LS_AVX512, LS_AVX512_BF16 and LS_AMX. */
extern const ls_conv2d_kernels ls_conv2d_vector_bf16_avx2, ls_conv2d_vector_rounded_avx512,
    ls_conv2d_vector_bf16_avx512, ls_conv2d_bf16_amx;
#endif
const ls_conv2d_kernels *ls_conv2d_kernels_for(const ls_backend *backend);

/* The op: x [height][width][inputs]; weight [outputs][inputs][kernel_h][kernel_w] and bias [outputs] (or
 * NULL) are parameters. LS_USAGE: the kernel does not fit into the padded image. */
ls_tensor *ls_conv2d(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias, int64_t stride,
                     int64_t pad);

extern const ls_layer_class ls_conv2d_layer;

#endif
