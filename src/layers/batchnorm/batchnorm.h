/* Batch normalisation (Ioffe and Szegedy, 2015) over all samples and pixels of the global batch, a channel at
 * a time, with the biased variance:
 *
 *   y  = gamma (x - mean) / sqrt(variance + eps) + beta
 *
 * Backward, over the M elements of a channel:
 *
 *   s1 = sum of dz,  s2 = sum of dz (x - mean),  a = gamma / sqrt(variance + eps)
 *   dx = a dz + b (x - mean) + c,  b = -a s2 / ((variance + eps) M),  c = -a s1 / M
 *   dgamma = s2 / sqrt(variance + eps),  dbeta = s1
 *
 * Sums over a shard are in double, over the pixels of a line from 0, the lines of an image from 0, the images
 * of the shard from 0 (layers/pixel_sums.h); over shards by the tree.
 *
 * With statistics that do not depend on the batch (LS_ATTACKING) dx = a dz. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_H
#define LOCKSTEP_LAYERS_BATCHNORM_H

#include "layers/batchnorm/statistics.h"
#include "layers/layer.h"

/* The forward cut: mean and variance of the batch, or of the statistics where the purpose evaluates, the
 * statistics brought up to date, and the vectors of the load. */
typedef struct ls_batchnorm_cut {
    ls_purpose purpose;
    const ls_statistics *statistics;
    const double *sums; /* [2][channels] of x and x x over the batch */
    double elements;    /* that each of them is over */
    double eps;
    int64_t channels;
    const void *gamma, *beta; /* [channels], or NULL: 1 and 0 */
    double *mean, *variance;  /* [channels], kept for the backward cut */
    ls_norm_vectors out;
    const struct ls_now *now; /* core/now.h: once a step has been given up there, statistics stay; or NULL */
} ls_batchnorm_cut;

/* The backward cut: its vectors a, b and c from the sums; gamma, dgamma and dbeta may be NULL. */
typedef struct ls_batchnorm_grad_cut {
    const double *sums; /* [2][channels] of dz and dz (x - mean) over the batch */
    const double *variance;
    double eps, elements;
    int64_t channels;
    const void *gamma;
    ls_norm_vectors out;
    void *dgamma, *dbeta;
} ls_batchnorm_grad_cut;

/* What is summed. */
typedef struct ls_batchnorm_input {
    int64_t pixels, width, channels; /* of a row, of a line, of a pixel */
    bool narrow_x, narrow_dz;        /* in bf16 (ls_tensor::narrow) */
    const void *x;                   /* [rows][pixels][channels] */
    const void *mean, *dz;           /* [channels], as x; of the backward pass */
    const struct ls_batchnorm_cut
        *cut; /* is made of the sums at once, on a device that has all shards; or NULL */
    const struct ls_batchnorm_grad_cut *grad_cut; /* likewise */
} ls_batchnorm_input;

/* Channels of which kernels for GPUs make a cut with the sums. */
enum { LS_BATCHNORM_MOST_AT_ONCE = 32 * 4096 };

/* Kernels; shards are local, sums [local shards][2][channels]. The lane's scratch is of ls_sums_room(channels) doubles. */
typedef struct ls_batchnorm_kernels {
    /* sums of x and x x */
    void (*sums)(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last, double *sums,
                 const ls_lane *lane);
    /* sums of dz and dz (x - mean) */
    void (*grad_sums)(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last,
                      double *sums, const ls_lane *lane);
    /* the forward cut */
    void (*cut)(const ls_batchnorm_cut *args, const ls_lane *lane);
    /* the backward one */
    void (*grad_cut)(const ls_batchnorm_grad_cut *args, const ls_lane *lane);
} ls_batchnorm_kernels;

LS_KERNELS(ls_batchnorm_kernels, ls_batchnorm_ref);

/* gamma and beta: parameters of length channels, or NULL; statistics: index in the graph's parameters. In
 * evaluation it normalises by those statistics, which it reads once per replay of the plan. LS_USAGE: in
 * training the largest batch has one value a channel. */
ls_tensor *ls_batchnorm(ls_graph *graph, ls_tensor *x, ls_tensor *gamma, ls_tensor *beta, double eps,
                        int statistics);

extern const ls_layer_class ls_batchnorm_layer;

#endif
