/* What a kernel does while it loads and while it stores: the prologue and epilogue of every dense and
 * convolution kernel, forward and backward. A BatchNorm, an activation and a dropout between two dense layers
 * never pass over a tensor by themselves: they are applied here. layers/fusion_ref.h is the specification, in
 * plain C.
 *
 *   forward     load x' = dropout(act((x - mean) scale + shift + r'))         ls_prologue
 *               store y = sum + bias, and the sums of a BatchNorm behind      ls_epilogue
 *   backward    load dy = a dz + b (y - mean) + c                             ls_grad_prologue
 *               store dz = dx' back through dropout and activation, and the
 *               sums of the BatchNorm before                                  ls_grad_epilogue
 *
 * An activation tensor is [rows][pixels][channels], channels last. A row is a sample; pixels is 1 for a dense
 * layer. Pixels lie in lines of `width`, by which sums are taken (layers/pixel_sums.h). Pointers to `void`
 * are to fp32 or fp64 elements, as the kernel's name says, or, where `narrow`, to bf16 ones. Rows are the
 * local rows of the shards. A normalisation is a set of vectors of length channels. It subtracts the mean
 * first: with an eps of 1e-8 the scale can reach 1e4, and x scale + shift would cancel. */
#ifndef LOCKSTEP_GRAPH_FUSION_H
#define LOCKSTEP_GRAPH_FUSION_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/activation.h"

struct ls_batchnorm_cut; /* layers/batchnorm/batchnorm.h */
struct ls_batchnorm_grad_cut;

/* (x - mean) * scale + shift; mean == NULL: nothing. */
typedef struct ls_normalisation {
    const void *mean, *scale, *shift; /* [channels] */
} ls_normalisation;

/* Inverted dropout: an element is kept where its random word is below `threshold`, and multiplied by `scale`
 * = 1/keep. Stream (seed, LS_RNG_DROPOUT, op, step, sample index), element pixel * channels + channel of the
 * row. */
typedef struct ls_dropout_mask {
    bool active;
    uint64_t seed;
    uint32_t op, step;
    const struct ls_now *now; /* core/now.h: the step is the one there; NULL: here */
    uint32_t threshold; /* keep * 2^32, rounded */
    double scale;
    const uint32_t *sample; /* [rows] index in the data set */
} ls_dropout_mask;

/* Reading: x' = dropout(act((x - mean) scale + shift + r')), r' nothing, a residual, or a normalised
 * residual. */
typedef struct ls_prologue {
    int64_t pixels, width, channels;
    bool narrow_x, narrow_residual; /* that array is in bf16 (ls_tensor::narrow) .. */
    bool narrow;                    /* .. and x' where it is stored, and gradients of it */
    const void *x;                  /* [rows][pixels][channels] */
    ls_normalisation norm;
    const void *residual; /* [rows][pixels][channels] or NULL */
    ls_normalisation residual_norm;
    ls_activation act;
    ls_dropout_mask dropout;
    void *stored; /* [rows][pixels][channels] receives x' where it is read again, or NULL */
} ls_prologue;

/* Does the prologue change x at all? */
static inline bool ls_prologue_is_identity(const ls_prologue *p) {
    return !p->norm.mean && !p->residual && !p->act.class && !p->dropout.active;
}

/* Doubles in which the sums of `channels` channels wait, of a line and of an image. */
static inline int64_t ls_sums_room(int64_t channels) {
    return 4 * channels;
}

/* Storing: y = sum + bias, and the sums that the next BatchNorm needs. */
typedef struct ls_epilogue {
    int64_t pixels, width, channels; /* of y */
    bool narrow;                     /* y is in bf16 */
    const void *bias;                /* [channels] or NULL */
    double *sums; /* [local shards][2][channels]: sum of y, sum of y y, in double, or NULL */
    double *room; /* the thread's ls_sums_room(channels), where there are sums of several pixels */
    const struct ls_batchnorm_cut
        *cut; /* is made of the sums by the store (ls_op_class::makes_cuts); or NULL */
} ls_epilogue;

/* Reading a gradient through the BatchNorm behind it: dy = a dz + b (y - mean) + c per channel; a == NULL: dy
 * = dz. */
typedef struct ls_grad_prologue {
    int64_t pixels, channels;
    bool narrow_dz, narrow_y; /* in bf16 */
    const void *dz;           /* [rows][pixels][channels] */
    const void *y;            /* [rows][pixels][channels] the BatchNorm's input */
    const void *mean, *a, *b, *c;
    void *stored; /* receives dy for the weight gradient; may be dz itself; NULL only if a is NULL */
} ls_grad_prologue;

/* Storing a gradient: dx', added to what other readers of x' have written, goes back through the dropout and
 * the activation of the forward prologue. What is stored is dz, the gradient of z = (x - mean) scale + shift
 * + r'; without a normalisation that is the gradient of x. */
typedef struct ls_grad_epilogue {
    bool narrow_dz, narrow_dresidual; /* in bf16; others is as narrow as x' */
    const void *others; /* [rows][pixels][channels] gradient by other readers of x', or NULL; may be dz */
    void *dz;           /* [rows][pixels][channels], or NULL: nobody needs it */
    bool accumulate;    /* dz += instead of dz = : x has another consumer that ran before */
    double *sums;       /* [local shards][2][channels]: sum of dz, sum of dz (x - mean), or NULL */
    void *dresidual;    /* [rows][pixels][channels] += or = the same gradient for the residual; NULL: nobody
                           needs it, or it is read in dz */
    bool dresidual_accumulate;
    double *residual_sums; /* as sums, with the residual and its mean, or NULL */
    double *room;          /* the thread's 2 ls_sums_room(channels), where there are sums of several pixels */
    const struct ls_batchnorm_grad_cut *cut, *residual_cut; /* as in ls_epilogue */
} ls_grad_epilogue;

#endif
