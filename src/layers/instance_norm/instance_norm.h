/* Instance normalisation (Ulyanov, Vedaldi, Lempitsky, 2016): each channel of each sample by the mean mu and
 * the biased deviation sigma of its own pixels, in training as in evaluation:
 *
 *   y = gamma (x - mu) / s + beta,  s = sqrt(sigma^2 + eps)   (PyTorch, and the text of report 2)
 *                                or s = sigma + eps           (the published layers of report 2)
 *
 * Backward, with M pixels, g = gamma dy and d = x - mu:
 *
 *   dx = (g - (sum of g) / M - d k (sum of g d) / M) / s
 *        k = 1 / s^2        for the first, since ds/dx = d / (M s)
 *        k = 1 / (s sigma)  for the second, since ds/dx = d / (M sigma)
 *   dgamma = sum over samples and pixels of dy d / s,  dbeta = sum of dy
 *
 * With s = sigma + eps dx is 0 where sigma is 0: there is no gradient there, and on one side it would be
 * about 1 / eps.
 *
 * All of it is computed in double and rounded once. Sums:
 *
 *   over pixels      in row-major order from 0; the mean is that of x - x[0], so that equal pixels have a
 *                    deviation of exactly 0
 *   dgamma, dbeta    over rows and pixels of a shard in increasing order from 0, rounded; over shards by the
 *                    tree */
#ifndef LOCKSTEP_LAYERS_INSTANCE_NORM_H
#define LOCKSTEP_LAYERS_INSTANCE_NORM_H

#include "layers/layer.h"

typedef enum ls_eps_place { LS_EPS_IN_ROOT, LS_EPS_AT_DEVIATION } ls_eps_place;

typedef struct ls_instance_norm_args {
    int64_t pixels, channels;
    double eps;
    ls_eps_place place;
    const void *gamma, *beta; /* [channels], or NULL: 1 and 0 */
    const void *x;            /* [rows][pixels][channels] */
    void *y;
    double *moments; /* [rows][3][channels]: mu, 1/s, k (0: the gradient is 0), from forward to the others */
    const void *dy;
    void *dx;
    bool accumulate;
    void *dgamma, *dbeta; /* [nodes][channels], node_stride elements apart */
    int64_t node_stride;
} ls_instance_norm_args;

typedef struct ls_instance_norm_kernels {
    void (*forward)(const ls_instance_norm_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    void (*backward)(const ls_instance_norm_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane);
    int64_t (*weight_grad_parts)(const ls_instance_norm_args *args);
    /* parts [first, last), blocks of channels, of dgamma and dbeta; reads all local rows */
    void (*weight_grad)(const ls_instance_norm_args *args, const ls_shards *shards, int64_t first,
                        int64_t last, const ls_lane *lane);
} ls_instance_norm_kernels;

LS_KERNELS(ls_instance_norm_kernels, ls_instance_norm_ref);

/* gamma and beta: parameters of length channels, or both NULL. LS_USAGE: x is not an image of at least two
 * pixels. */
ls_tensor *ls_instance_norm(ls_graph *graph, ls_tensor *x, ls_tensor *gamma, ls_tensor *beta, double eps,
                            ls_eps_place place);

extern const ls_layer_class ls_instance_norm_layer;

#endif
