/* Channels are taken in blocks, whose sums stay on the stack; pixels in order. */
#include "layers/instance_norm/instance_norm.h"

#include <math.h>
#include <string.h>

#include "core/real.h"

enum { BLOCK = 16 };

/* `count` channels from `first` of one row */
typedef struct plane {
    int64_t first, count, at; /* at: element of x of the first pixel's first channel */
    double *mean, *inverse, *k;
} plane;

static plane plane_of(const ls_instance_norm_args *a, int64_t row, int64_t channel) {
    double *moments = a->moments + row * 3 * a->channels + channel;
    return (plane){.first = channel,
                   .count = a->channels - channel < BLOCK ? a->channels - channel : BLOCK,
                   .at = row * a->pixels * a->channels + channel,
                   .mean = moments,
                   .inverse = moments + a->channels,
                   .k = moments + 2 * a->channels};
}

/* The second sum is of deviations from the mean, so that nothing cancels. */
static void find_moments(const ls_instance_norm_args *a, const plane *p) {
    const real *x = (const real *)a->x + p->at;
    const double pixels = (double)a->pixels;
    double sum[BLOCK] = {0}, squares[BLOCK] = {0};
    for (int64_t i = 0; i < a->pixels; i++)
        for (int64_t c = 0; c < p->count; c++) sum[c] += (double)x[i * a->channels + c] - (double)x[c];
    for (int64_t c = 0; c < p->count; c++) p->mean[c] = (double)x[c] + sum[c] / pixels;
    for (int64_t i = 0; i < a->pixels; i++)
        for (int64_t c = 0; c < p->count; c++) {
            const double d = (double)x[i * a->channels + c] - p->mean[c];
            squares[c] += d * d;
        }
    for (int64_t c = 0; c < p->count; c++) {
        const double variance = squares[c] / pixels, sigma = sqrt(variance);
        const double s = a->place == LS_EPS_IN_ROOT ? sqrt(variance + a->eps) : sigma + a->eps;
        p->inverse[c] = 1 / s;
        p->k[c] = a->place == LS_EPS_IN_ROOT ? 1 / (variance + a->eps) : sigma > 0 ? 1 / (s * sigma) : 0;
    }
}

static void forward_plane(const ls_instance_norm_args *a, const plane *p) {
    const real *x = (const real *)a->x + p->at, *gamma = a->gamma, *beta = a->beta;
    real *y = (real *)a->y + p->at;
    double scale[BLOCK], shift[BLOCK];
    find_moments(a, p);
    for (int64_t c = 0; c < p->count; c++) {
        scale[c] = gamma ? (double)gamma[p->first + c] * p->inverse[c] : p->inverse[c];
        shift[c] = beta ? (double)beta[p->first + c] : 0;
    }
    for (int64_t i = 0; i < a->pixels; i++)
        for (int64_t c = 0; c < p->count; c++)
            y[i * a->channels + c] =
                (real)(((double)x[i * a->channels + c] - p->mean[c]) * scale[c] + shift[c]);
}

/* Adds dy and dy (x - mu) of the plane to the sums. */
static void add_products(const ls_instance_norm_args *a, const plane *p, double *sum, double *products) {
    const real *x = (const real *)a->x + p->at, *dy = (const real *)a->dy + p->at;
    for (int64_t i = 0; i < a->pixels; i++)
        for (int64_t c = 0; c < p->count; c++) {
            const double g = (double)dy[i * a->channels + c];
            sum[c] += g;
            products[c] += g * ((double)x[i * a->channels + c] - p->mean[c]);
        }
}

static void backward_plane(const ls_instance_norm_args *a, const plane *p) {
    const real *x = (const real *)a->x + p->at, *dy = (const real *)a->dy + p->at, *gamma = a->gamma;
    real *dx = (real *)a->dx + p->at;
    double sum[BLOCK] = {0}, products[BLOCK] = {0}, scale[BLOCK];
    add_products(a, p, sum, products);
    for (int64_t c = 0; c < p->count; c++) {
        scale[c] = gamma ? (double)gamma[p->first + c] * p->inverse[c] : p->inverse[c];
        if (p->k[c] == 0) scale[c] = 0;
        sum[c] /= (double)a->pixels;
        products[c] *= p->k[c] / (double)a->pixels;
    }
    for (int64_t i = 0; i < a->pixels; i++)
        for (int64_t c = 0; c < p->count; c++) {
            const int64_t at = i * a->channels + c;
            const double d = (double)x[at] - p->mean[c];
            const real g = (real)(((double)dy[at] - sum[c] - d * products[c]) * scale[c]);
            dx[at] = a->accumulate ? dx[at] + g : g;
        }
}

static void each_plane(const ls_instance_norm_args *a, const ls_shards *shards, int first, int last,
                       void (*one)(const ls_instance_norm_args *a, const plane *p)) {
    for (int64_t row = shards->start[first]; row < shards->start[last]; row++)
        for (int64_t c = 0; c < a->channels; c += BLOCK) {
            const plane p = plane_of(a, row, c);
            one(a, &p);
        }
}

static void forward(const ls_instance_norm_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    (void)lane;
    each_plane(a, shards, first, last, forward_plane);
}

static void backward(const ls_instance_norm_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    (void)lane;
    each_plane(a, shards, first, last, backward_plane);
}

static int64_t weight_grad_parts(const ls_instance_norm_args *a) {
    return (a->channels + BLOCK - 1) / BLOCK;
}

/* dgamma and dbeta of a block of channels over the rows of one shard. */
static void sum_shard(const ls_instance_norm_args *a, int64_t channel, int64_t begin, int64_t end,
                      real out[2][BLOCK]) {
    double gamma[BLOCK] = {0}, beta[BLOCK] = {0};
    for (int64_t row = begin; row < end; row++) {
        const plane p = plane_of(a, row, channel);
        double sum[BLOCK] = {0}, products[BLOCK] = {0};
        add_products(a, &p, sum, products);
        for (int64_t c = 0; c < p.count; c++) {
            gamma[c] += products[c] * p.inverse[c];
            beta[c] += sum[c];
        }
    }
    for (int64_t c = 0; c < BLOCK; c++) {
        out[0][c] = (real)gamma[c];
        out[1][c] = (real)beta[c];
    }
}

static void sum_node(const ls_instance_norm_args *a, const ls_shards *shards, const ls_node *node,
                     int64_t channel, real *dgamma, real *dbeta) {
    const int64_t count = a->channels - channel < BLOCK ? a->channels - channel : BLOCK;
    real pending[LS_MAX_TREE_DEPTH + 1][2][BLOCK]; /* and the leaf at hand */
    int depth = 0;
    for (int i = 0; i < node->count; i++, depth++) {
        const int64_t *start = &shards->start[node->first - shards->first + i];
        sum_shard(a, channel, start[0], start[1], pending[depth]);
        for (int m = ls_tree_merges(i); m > 0; m--) {
            depth--;
            for (int v = 0; v < 2; v++)
                for (int c = 0; c < BLOCK; c++)
                    pending[depth][v][c] = pending[depth][v][c] + pending[depth + 1][v][c];
        }
    }
    memcpy(dgamma + channel, pending[0][0], (size_t)count * sizeof(real));
    memcpy(dbeta + channel, pending[0][1], (size_t)count * sizeof(real));
}

static void weight_grad(const ls_instance_norm_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    (void)lane;
    for (int64_t part = first; part < last; part++)
        for (int n = 0; n < shards->node_count; n++)
            sum_node(a, shards, &shards->node[n], part * BLOCK, (real *)a->dgamma + n * a->node_stride,
                     (real *)a->dbeta + n * a->node_stride);
}

const ls_instance_norm_kernels LS_NAME(ls_instance_norm_ref) = {forward, backward, weight_grad_parts,
                                                                weight_grad};
