/* Dense layer: y[n][k] = sum over c of x'[n][c] w[c][k] + bias[k], x' by the prologue.
 *
 * Weights are kept [inputs][outputs] here, so that outputs lie side by side in a vector register; checkpoints
 * hold PyTorch's [outputs][inputs]. The order of every sum is fixed, so that an implementation may block,
 * vectorise and thread as it likes:
 *     y, dx' : over c (over k) in increasing order, one accumulator an element; 0 is added to the sum of y,
 *              which makes a -0 of it positive, then the bias;
 *     dw, db : inside a shard over its rows in increasing order, from 0; over shards by the tree.
 * fp32 and bf16 take each step of a sum of products as one multiply-add that rounds once; in fp64 the product
 * rounds too. The bits are the same in every tier of instructions but AMX.
 *
 * In bf16 each factor is rounded first, and the order stays. Where AVX512_BF16 is used, denormal factors,
 * products and sums count as 0.
 *
 * AMX in bf16 takes the terms of each sum (over c, over k, over the rows of a shard) in steps of 32, the
 * last one of what is left. A step's terms of even number are added from 0 by fused multiply-adds in their
 * order, so are those of odd number (behind an odd number of terms stands a 0), the second sum is added to
 * the first, and that to the sum of the steps before, from 0. Denormal factors and results count as 0. Bias,
 * the 0 before it and the tree stay. (core/tiles.h.) */
#ifndef LOCKSTEP_LAYERS_DENSE_H
#define LOCKSTEP_LAYERS_DENSE_H

#include <stddef.h>

#include "core/lane.h"
#include "core/shards.h"
#include "graph/fusion.h"
#include "layers/layer.h"

typedef struct ls_dense_args {
    int64_t inputs, outputs;
    const void *weight; /* [inputs][outputs] */
    ls_prologue in;  /* pixels * channels = inputs; forward and weight gradient read x', backward its masks */
    ls_epilogue out; /* forward */
    void *y;         /* [rows][outputs] */
    ls_grad_prologue dy; /* pixels 1, channels = outputs */
    ls_grad_epilogue dx; /* backward */
    void *dweight,
        *dbias; /* [nodes], node_stride elements apart, each [inputs][outputs] and [outputs]; dbias or NULL */
    int64_t node_stride;
    void *packed; /* what pack() makes of x' and dy for weight_grad(); NULL: there is no weight gradient */
} ls_dense_args;

/* The functions that a back end has for this layer. Local; they cannot fail; `lane->scratch` is this thread's
 * own, of scratch_bytes() for batches of up to so many local rows. Shards are local: [first, last) of
 * shards->count. */
typedef struct ls_dense_kernels {
    /* Which activations do prologue and gradient epilogue fold? The others never come here. NULL: none. */
    bool (*folds)(const ls_activation *act);
    size_t (*scratch_bytes)(const ls_dense_args *args, int64_t rows);
    /* y = epilogue(x' w), for the rows of these shards; zeroes and fills their sums */
    void (*forward)(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    /* stores dy where it has a prologue (kernels for GPUs load it again instead), then dx' = dy w^T through
     * the gradient epilogue where dx.dz is set */
    void (*backward)(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane);
    /* bytes of args->packed for so many rows in so many shards; NULL: weight_grad reads x' and dy as they lie
     */
    size_t (*packed_bytes)(const ls_dense_args *args, int64_t rows, int shards);
    /* after `backward`, for the rows of these shards: puts them at their places among those of `all`, which
     * are all shards that the weight gradient will be over, these or more */
    void (*pack)(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                 const ls_shards *all, const ls_lane *lane);
    /* how many independent pieces the weight gradient is made of */
    int64_t (*weight_grad_parts)(const ls_dense_args *args);
    /* pieces [first, last) of dw and db, one sum a node: reads x' and dy of all rows of the shards, as
     * stored, and what has been packed of them; returns whether all numbers that it has written are finite */
    bool (*weight_grad)(const ls_dense_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane);
    /* all of them, of several layers at once, or NULL: each by itself */
    void (*weight_grads)(const ls_dense_args *const *args, int count, const ls_shards *shards,
                         const ls_lane *lane);
    bool makes_cuts; /* of the BatchNorms whose sums they take, where they are asked to */
} ls_dense_kernels;

extern const ls_dense_kernels ls_dense_ref_f32, ls_dense_ref_f64, ls_dense_ref_bf16_f32;
#ifdef __x86_64__
extern const ls_dense_kernels ls_dense_vector_avx2, ls_dense_vector_avx512;
extern const ls_dense_kernels ls_dense_vector_bf16_avx2, ls_dense_vector_rounded_avx512;
extern const ls_dense_kernels ls_dense_vector_bf16_avx512,
    ls_dense_vector_bf16_amx; /* need LS_AVX512_BF16, LS_AMX */
#endif
LS_KERNELS_CUDA(ls_dense_kernels, ls_dense);
LS_KERNELS_CUDA(ls_dense_kernels, ls_dense_bf16);
const ls_dense_kernels *ls_dense_kernels_for(const ls_backend *backend);

/* The op: x [..] is taken as a vector of all its elements; weight [outputs][inputs] and bias [outputs] (or
 * NULL) are parameters. */
ls_tensor *ls_dense(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias);

extern const ls_layer_class ls_dense_layer;

#endif
