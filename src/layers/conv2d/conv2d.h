/* 2-d convolution (cross-correlation, as in PyTorch), channels last:
 *
 *     y[n][i][j][k] = sum over (u, v, c) of x'[n][i stride + u - pad][j stride + v - pad][c] w[u][v][c][k]
 *                     + bias[k],   x' by the prologue, zero outside the image.
 *
 * Weights are kept [kernel_h][kernel_w][inputs][outputs]; checkpoints hold PyTorch's
 * [outputs][inputs][kernel_h][kernel_w].
 *
 * fp32 and bf16 take each step of a sum of products as one multiply-add that rounds once; in fp64 the product
 * rounds too. The order is the same in every tier of instructions, and so are the bits.
 *
 * Direct sums. Their order is fixed:
 *     y      : over u, v, c in increasing order, taps outside the image left out, bias added last;
 *     dx'    : over u, v, k in increasing order;
 *     dw, db : of an image over i, j in increasing order, from 0; over the images of a shard in their order,
 *              from 0; over shards by the tree. db is so in Winograd's algorithm and AMX too.
 *
 * Winograd's algorithm computes 3x3 with stride 1, 16 inputs and outputs or more, but not in fp64 and not by
 * AMX's tiles, by F(t x t, 3x3): with the setting `convolution` at `f4x4` t = 4 or 2 by shape alone
 * (winograd_tile() of conv2d_layout.h); at `f2x2` t = 2; at `direct` never. Shapes for which that has more
 * products are direct. The order is as fixed, and as independent of tiers, ranks, threads and calls. Tiles are
 * t x t pixels of y, or of dx', from (0, 0) on, zeros behind the last; what results lie behind the image is
 * dropped. A transform is one of lines, applied twice. Every operation rounds by itself, but those written
 * k a + b, with k a power of two, whose product is exact: they may be fused or not.
 *     pixels   : t + 2 of a line, d; down the columns of a tile, then across. t = 2:
 *                d0 - d2, d1 + d2, d2 - d1, d3 - d1. t = 4: with c = d4 - d2 and e = d3 - d1,
 *                4 (d0 - d2) + c, (-4 d2 + d4) + (-4 d1 + d3), (-4 d2 + d4) - (-4 d1 + d3), 2 e + c, -2 e + c,
 *                -4 e + (d5 - d3);
 *     weights  : three, w; down, then across. t = 2: w0, ((w0 + w2) + w1) / 2, ((w0 + w2) - w1) / 2, w2.
 *                t = 4: w0, (w0 + w2) + w1, (w0 + w2) - w1, 2 w1 + (4 w2 + w0), -2 w1 + (4 w2 + w0), w2, and
 *                at the end position (i, j) times the fp32 number nearest to n_i n_j, n = 1/4, -1/6, -1/6,
 *                1/24, 1/24, 1: one product, never fused;
 *     products : position by position from 0 by multiply-adds that round once, over c (y) or k (dx');
 *     results  : t + 2 sums, m; across, then down. t = 2: (m0 + m1) + m2, (m1 - m2) + m3. t = 4: with
 *                p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4,
 *                (m0 + p) + r, 2 s + q, 4 r + p, (8 s + q) + m5. Bias is added last;
 *     dx'      : the same of dy, with the kernel turned by half a turn and transposed;
 *     dw       : dy, t of a line, e; down, then across. t = 2: e0, e0 + e1, e0 - e1, e1. t = 4: with
 *                p = e0 + e2, q = e1 + e3, r = 4 e2 + e0, s = 4 e3 + e1, e0, p + q, p - q, 2 s + r, -2 s +
 *                r, e3. Products with the pixels of the same tile, position by position, from 0 by
 *                multiply-adds that round once: one sum over all rows of a shard, tiles line by line. Then
 *                the sums, of t = 4 each times its n_i n_j; down, then across. t = 2: (m1 + m2) / 2 + m0,
 *                (m1 - m2) / 2, (m1 + m2) / 2 + m3. t = 4: p, q, r, s as for results, (m0 + p) + r, 2 s + q,
 *                (4 r + p) + m5. Over shards by the tree.
 * What it costs: errors of F(2x2) are those of direct sums; F(4x4) has, against fp64, root mean squares of
 * about 4e-7 of y's (direct 2e-7) and up to 1e-6 of dx''s. Bounds are in tests/layers/naive_winograd.h. A value
 * that is not finite spreads over its tile, of 4x4 pixels and those around it.
 *
 * In bf16 each factor is rounded first (x', w, dy: before they are transformed), and the order stays the same.
 * So do the bits, except for direct sums where AVX512_BF16 is used: there factors, products and sums that are
 * denormal count as 0, and x' of a factor that does is not positive to its relu.
 *
 * AMX in bf16 computes kernels of 3x3 with stride 1 and 16, or a multiple of 32, inputs and outputs on its
 * tiles, all others as AVX-512 does. Sums are taken in steps as in dense.h, padding counts as zeros, and a
 * step is
 *     y      : u, v and 32 inputs; with 16 inputs u and v = 0, 1, or v = 2 alone;
 *     dx'    : the same for the kernel turned round (2 - u and 2 - v for u and v) and k for c;
 *     dw     : 32 pixels of an image of y, its lines one after the other, each but the last with zeros behind
 *              it up to the next even number from out_width + 2, the last one up to an even number; one sum
 *              over all rows of a shard, in increasing order. What stands beside those zeros in x', of its
 *              border or the next line, is multiplied with them. */
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
    int winograd;       /* the largest tiles of Winograd's algorithm: 4, 2, or 0: direct sums */
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
    void *workspace;       /* of kernels with workspace_bytes() */
    bool downward; /* work on the last shard first: what the op before has left in the caches. The bits are
                      the same */
} ls_conv2d_args;

/* As ls_dense_kernels (layers/dense/dense.h), function for function. Kernels with shard_gradient_elements
 * take the weight gradient in `backward`, which sees dy and x' anyway, into shard_gradients: weight_grad only
 * adds those of the shards, neither x' nor dy need be stored, and dy.stored is not written. Without it (NULL)
 * they do not look at shard_gradients. Sums of a gradient epilogue may be taken from what it has stored: those
 * of dz where there is dz, those of the residual where that has a place, or dz holds the same. */
typedef struct ls_conv2d_kernels {
    /* Which activations do prologue and gradient epilogue fold? The others never come here. NULL: none. */
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
    /* Backend memory that these kernels keep for an operation of up to so many local rows, with its weight
     * gradient or without; NULL: none. */
    size_t (*workspace_bytes)(const ls_conv2d_args *args, int shards, int64_t rows, bool gradient);
    /* Of several operations at once; then weight_grad is not called. NULL: one after the other. */
    void (*weight_grads)(const ls_conv2d_args *const *args, int count, const ls_shards *shards,
                         const ls_lane *lane);
    bool narrow;     /* arrays may be in bf16 (ls_tensor::narrow) */
    bool makes_cuts; /* of the BatchNorms whose sums they take, where they are asked to */
    bool (*fits)(const ls_conv2d_args *args); /* NULL: every shape */
} ls_conv2d_kernels;

extern const ls_conv2d_kernels ls_conv2d_ref_f64;
extern const ls_conv2d_kernels ls_conv2d_vector_f32, ls_conv2d_vector_bf16_f32; /* portable */
#ifdef __x86_64__
extern const ls_conv2d_kernels ls_conv2d_vector_avx2, ls_conv2d_vector_avx512;
/* In bf16, for LS_AVX2, LS_AVX512, LS_AVX512_BF16 and LS_AMX. */
extern const ls_conv2d_kernels ls_conv2d_vector_bf16_avx2, ls_conv2d_vector_rounded_avx512,
    ls_conv2d_vector_bf16_avx512, ls_conv2d_bf16_amx;
#endif
/* For GPUs, with the sums of the vector kernels. */
LS_KERNELS_CUDA(ls_conv2d_kernels, ls_conv2d);
LS_KERNELS_CUDA(ls_conv2d_kernels, ls_conv2d_bf16);
/* By tensor cores, for shapes that ls_conv2d_tensor_fits. */
LS_KERNELS_CUDA(ls_conv2d_kernels, ls_conv2d_tensor_bf16);
LS_KERNELS_CUDA(ls_conv2d_kernels, ls_conv2d_tensor_tf32);
/* For an operation of this shape. */
const ls_conv2d_kernels *ls_conv2d_kernels_for(const ls_backend *backend, const ls_conv2d_args *args);

/* The op: x [height][width][inputs]; weight [outputs][inputs][kernel_h][kernel_w] and bias [outputs] (or
 * NULL) are parameters. LS_USAGE: the kernel does not fit into the padded image. */
ls_tensor *ls_conv2d(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias, int64_t stride,
                     int64_t pad);

/* The same by Winograd's algorithm with tiles of at most winograd = 4 or 2 (as ls_conv2d), or 0: by direct
 * sums. */
ls_tensor *ls_conv2d_by(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias, int64_t stride,
                        int64_t pad, int winograd);

extern const ls_layer_class ls_conv2d_layer;

#endif
