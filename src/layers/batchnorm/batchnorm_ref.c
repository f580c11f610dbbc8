#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/real.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/pixel_sums.h"

/* Of v, and of v times x less the means. */
static void sum_shards(const ls_batchnorm_input *in, const real *v, const ls_shards *shards, int first,
                       int last, double *sums, const ls_lane *lane) {
    const int64_t row = in->pixels * in->channels;
    memset(sums + 2 * in->channels * first, 0, (size_t)(2 * in->channels * (last - first)) * sizeof *sums);
    for (int s = first; s < last; s++) {
        const ls_pixel_sums to =
            ls_open_pixel_sums(sums, s, in->pixels, in->width, in->channels, lane->scratch);
        for (int64_t i = shards->start[s] * row; i < shards->start[s + 1] * row; i += row)
            ls_add_to_pixel_sums(&to, 0, row, v + i, (const real *)in->x + i, in->mean);
    }
}

static void batchnorm_sums(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last,
                           double *sums, const ls_lane *lane) {
    sum_shards(in, in->x, shards, first, last, sums, lane);
}

static void batchnorm_grad_sums(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last,
                                double *sums, const ls_lane *lane) {
    sum_shards(in, in->dz, shards, first, last, sums, lane);
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

static void batchnorm_grad_cut(const ls_batchnorm_grad_cut *g, const ls_lane *lane) {
    (void)lane;
    const double *s1 = g->sums, *s2 = g->sums + g->channels;
    for (int64_t c = 0; c < g->channels; c++) {
        const double variance = g->variance[c], a = scale_of(g->gamma, variance, g->eps, c);
        ((real *)g->out.a)[c] = (real)a;
        ((real *)g->out.b)[c] = (real)(-a * s2[c] / ((variance + g->eps) * g->elements));
        ((real *)g->out.c)[c] = (real)(-a * s1[c] / g->elements);
        if (g->dgamma) ((real *)g->dgamma)[c] = (real)(s2[c] / sqrt(variance + g->eps));
        if (g->dbeta) ((real *)g->dbeta)[c] = (real)s1[c];
    }
}

const ls_batchnorm_kernels LS_NAME(ls_batchnorm_ref) = {batchnorm_sums, batchnorm_grad_sums, batchnorm_cut,
                                                        batchnorm_grad_cut};
