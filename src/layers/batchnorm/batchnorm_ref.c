#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/real.h"
#include "layers/batchnorm/batchnorm.h"

static void clear(double *sums, int64_t channels) {
    for (int64_t c = 0; c < 2 * channels; c++) sums[c] = 0;
}

static void batchnorm_sums(const void *x, int64_t pixels, int64_t channels, const ls_shards *shards,
                           int first, int last, double *sums, const ls_lane *lane) {
    (void)lane;
    for (int s = first; s < last; s++) {
        double *sum = sums + 2 * channels * s, *squares = sum + channels;
        clear(sum, channels);
        for (int64_t i = shards->start[s] * pixels; i < shards->start[s + 1] * pixels; i++) {
            const real *row = (const real *)x + i * channels;
            for (int64_t c = 0; c < channels; c++) {
                double v = (double)row[c];
                sum[c] += v;
                squares[c] += v * v;
            }
        }
    }
}

static void batchnorm_grad_sums(const void *x, const void *mean, const void *dz, int64_t pixels,
                                int64_t channels, const ls_shards *shards, int first, int last, double *sums,
                                const ls_lane *lane) {
    (void)lane;
    const real *m = mean;
    for (int s = first; s < last; s++) {
        double *sum = sums + 2 * channels * s, *products = sum + channels;
        clear(sum, channels);
        for (int64_t i = shards->start[s] * pixels; i < shards->start[s + 1] * pixels; i++) {
            const real *row = (const real *)x + i * channels, *gradient = (const real *)dz + i * channels;
            for (int64_t c = 0; c < channels; c++) {
                double g = (double)gradient[c];
                sum[c] += g;
                products[c] += g * (double)(row[c] - m[c]);
            }
        }
    }
}

static double scale_of(const void *gamma, double variance, double eps, int64_t c) {
    double inverse = 1 / sqrt(variance + eps);
    return gamma ? (double)((const real *)gamma)[c] * inverse : inverse;
}

static void find_moments(const ls_batchnorm_cut *a) {
    if (ls_purpose_evaluates(a->purpose)) {
        for (int64_t c = 0; c < a->channels; c++)
            ls_statistics_evaluate(a->statistics, c, &a->mean[c], &a->variance[c]);
        return;
    }
    const double *squares = a->sums + a->channels;
    for (int64_t c = 0; c < a->channels; c++)
        ls_moments_from_sums(a->sums[c], squares[c], a->elements, &a->mean[c], &a->variance[c]);
    if (a->purpose == LS_TRAINING)
        ls_statistics_update(a->statistics, a->sums, squares, a->elements);
    else
        ls_statistics_collect(a->statistics, a->sums, squares, a->elements);
}

/* By fixed statistics y is a fixed map of x: dx = scale dz, with b and c as they were allocated, 0. */
static void batchnorm_cut(const ls_batchnorm_cut *a, const ls_lane *lane) {
    const real *beta = a->beta;
    real *mean = a->out.mean, *scale = a->out.scale, *shift = a->out.shift;
    (void)lane;
    find_moments(a);
    for (int64_t c = 0; c < a->channels; c++) {
        mean[c] = (real)a->mean[c];
        scale[c] = (real)scale_of(a->gamma, a->variance[c], a->eps, c);
        shift[c] = beta ? beta[c] : 0;
    }
    if (a->purpose == LS_ATTACKING) memcpy(a->out.a, scale, (size_t)a->channels * sizeof *scale);
}

static void batchnorm_grad_cut(const double *sums, const double *variance, double eps, double elements,
                               const void *gamma, int64_t channels, const ls_norm_vectors *out, void *dgamma,
                               void *dbeta, const ls_lane *lane) {
    (void)lane;
    const double *s1 = sums, *s2 = sums + channels;
    for (int64_t c = 0; c < channels; c++) {
        double a = scale_of(gamma, variance[c], eps, c);
        ((real *)out->a)[c] = (real)a;
        ((real *)out->b)[c] = (real)(-a * s2[c] / ((variance[c] + eps) * elements));
        ((real *)out->c)[c] = (real)(-a * s1[c] / elements);
        if (dgamma) ((real *)dgamma)[c] = (real)(s2[c] / sqrt(variance[c] + eps));
        if (dbeta) ((real *)dbeta)[c] = (real)s1[c];
    }
}

const ls_batchnorm_kernels LS_NAME(ls_batchnorm_ref) = {batchnorm_sums, batchnorm_grad_sums, batchnorm_cut,
                                                        batchnorm_grad_cut};
