/* BatchNorm over ranks and shards against an independent BatchNorm of the whole batch: two passes, in double.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/probe.h"
#include "core/rng.h"
#include "graph/exchange.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/input/input.h"

enum { MOST_CHANNELS = 8, MOST_ELEMENTS = 4096 };

typedef struct bn_case {
    int64_t batch, pixels, channels;
    int shards;
    double mean, eps; /* of the input's channels: up to +-mean; its standard deviation is about 1 */
    bool affine;
    ls_dtype dtype;
} bn_case;

/* What both sides compute: [batch][pixels][channels] and [channels]. */
typedef struct bn_result {
    double y[MOST_ELEMENTS], dx[MOST_ELEMENTS];
    double dgamma[MOST_CHANNELS], dbeta[MOST_CHANNELS], mean[MOST_CHANNELS], variance[MOST_CHANNELS];
} bn_result;

static double x[MOST_ELEMENTS], dy[MOST_ELEMENTS], gamma_[MOST_CHANNELS], beta_[MOST_CHANNELS];
static bn_result want, bound, got;

static double uniform(uint32_t item, int64_t i) {
    ls_rng rng = ls_rng_stream(11, LS_RNG_TEST, 0, 0, item);
    uint32_t words[4];
    ls_rng_block(&rng, (uint32_t)(i / 4), words);
    return 2 * ls_rng_unit(words[i % 4]) - 1;
}

/* Inputs that fp32 holds exactly, so that nothing is lost before the layer. */
static void make_inputs(const bn_case *c) {
    int64_t count = c->batch * c->pixels * c->channels;
    assert_in_range(count, 1, MOST_ELEMENTS);
    for (int64_t k = 0; k < c->channels; k++) {
        gamma_[k] = c->affine ? (double)(float)(1 + 0.7 * uniform(1, k)) : 1;
        beta_[k] = c->affine ? (double)(float)uniform(2, k) : 0;
    }
    for (int64_t i = 0; i < count; i++) {
        x[i] = (double)(float)(c->mean * uniform(3, i % c->channels) + 1.7 * uniform(4, i));
        dy[i] = (double)(float)uniform(5, i);
    }
}

/* --- the independent one --------------------------------------------------------------------------- */

/* Sums of `count` elements of a channel: the mean of v, or of v (x - mean). */
static double channel_mean(const bn_case *c, int64_t k, const double *v, bool deviations, double mean) {
    double sum = 0;
    int64_t count = c->batch * c->pixels;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i * c->channels + k;
        sum += v[at] * (deviations ? x[at] - mean : 1);
    }
    return sum / (double)count;
}

/* The values, and how far fp32 may be from them. u = 2^-24 bounds the relative error of one rounding. In fp32
 *   y  = ((x - m) s) + b: m, s and b are rounded once, and so is each operation;
 *   s2 = sum dz (x - m) in double, of deviations that carry the roundings of m and of the subtraction;
 *   dx = a dz + b (x - m) + c, where b carries the error of s2.
 * The bounds add these up to first order and double the sum, for what is of second order. */
static void two_pass(const bn_case *c) {
    const double u = 0x1p-24, m_count = (double)(c->batch * c->pixels);
    for (int64_t k = 0; k < c->channels; k++) {
        double mean = channel_mean(c, k, x, false, 0);
        double variance = 0, s2_error = 0, dz_size = 0;
        for (int64_t i = k; i < c->batch * c->pixels * c->channels; i += c->channels) {
            variance += (x[i] - mean) * (x[i] - mean) / m_count;
            s2_error += u * fabs(dy[i]) * (fabs(x[i] - mean) + fabs(mean));
            dz_size += fabs(dy[i]);
        }
        double root = sqrt(variance + c->eps), scale = gamma_[k] / root;
        double s1 = m_count * channel_mean(c, k, dy, false, 0),
               s2 = m_count * channel_mean(c, k, dy, true, mean);
        double b = -scale * s2 / ((variance + c->eps) * m_count), shift = -scale * s1 / m_count;
        double b_error = fabs(scale) * s2_error / ((variance + c->eps) * m_count) + u * fabs(b);
        want.mean[k] = mean;
        want.variance[k] = variance;
        want.dgamma[k] = s2 / root;
        want.dbeta[k] = s1;
        bound.dgamma[k] = 2 * (s2_error / root + u * fabs(want.dgamma[k]));
        bound.dbeta[k] = 2 * (u * fabs(s1) + 1e-14 * dz_size);
        for (int64_t i = k; i < c->batch * c->pixels * c->channels; i += c->channels) {
            double d = x[i] - mean, d_error = u * (fabs(mean) + fabs(d));
            want.y[i] = d * scale + beta_[k];
            bound.y[i] =
                2 * (fabs(scale) * (d_error + 2 * u * fabs(d)) + u * (fabs(beta_[k]) + fabs(want.y[i])));
            want.dx[i] = scale * dy[i] + b * d + shift;
            bound.dx[i] =
                2 * (4 * u * fabs(scale * dy[i]) + b_error * fabs(d) + fabs(b) * (d_error + 3 * u * fabs(d)) +
                     2 * u * fabs(shift) + u * fabs(want.dx[i]));
        }
    }
}

/* --- the layer on ranks ---------------------------------------------------------------------------- */

typedef struct bn_rank {
    const bn_case *which;
    const ls_backend *backend;
    ls_shards shards;
    ls_parameters parameters;
    ls_reducer reducer;
} bn_rank;

static double element(const bn_case *c, const void *from, int64_t i) {
    return c->dtype == LS_FP64 ? ((const double *)from)[i] : (double)((const float *)from)[i];
}

static void rank_create(bn_rank *r, const bn_case *c, int index, int size) {
    int weight = 0, bias = 0, statistics;
    *r = (bn_rank){.which = c};
    assert_int_equal(ls_backend_find(c->dtype, &r->backend), LS_OK);
    assert_int_equal(ls_shards_create(&r->shards, c->shards, index, size, c->batch), LS_OK);
    ls_parameters *p = &r->parameters;
    if (c->affine) {
        assert_int_equal(
            ls_parameters_add(p, "0", "weight", LS_LAYOUT_VECTOR, 1, &c->channels, false, &weight), LS_OK);
        assert_int_equal(ls_parameters_add(p, "0", "bias", LS_LAYOUT_VECTOR, 1, &c->channels, false, &bias),
                         LS_OK);
    }
    assert_int_equal(
        ls_parameters_add_statistics(p, "0", LS_STATISTICS_CUMULATIVE, 0, c->channels, &statistics), LS_OK);
    assert_int_equal(ls_parameters_allocate(p, r->backend, 0, r->shards.node_count), LS_OK);
    if (!c->affine) return;
    assert_int_equal(ls_parameter_set(p, &p->list[weight], gamma_), LS_OK);
    assert_int_equal(ls_parameter_set(p, &p->list[bias], beta_), LS_OK);
}

static ls_status run_rank(void *argument, int index) {
    bn_rank *r = (bn_rank *)argument + index;
    const bn_case *c = r->which;
    ls_run run = {.shards = &r->shards};
    ls_graph *graph;
    LS_TRY(ls_graph_create(LS_EAGER, LS_TRAINING, r->backend, &r->parameters, &r->shards, &run, &r->reducer,
                           &graph));
    const int64_t shape[] = {1, c->pixels, c->channels};
    ls_tensor *leaf = ls_leaf(graph, 3, shape, x, true);
    ls_tensor *gamma = c->affine ? ls_graph_parameter(graph, 0) : NULL;
    ls_tensor *beta = c->affine ? ls_graph_parameter(graph, 1) : NULL;
    ls_tensor *y = ls_batchnorm(graph, leaf, gamma, beta, c->eps, 0);
    ls_tensor *loss = ls_weighted_sum(graph, y, dy);
    ls_status status = ls_graph_status(graph);
    if (status == LS_OK) status = ls_backward(loss);
    int64_t row = c->pixels * c->channels, first = r->shards.offset * row;
    for (int64_t i = 0; status == LS_OK && i < ls_shards_rows(&r->shards) * row; i++) {
        got.y[first + i] = element(c, y->value, i);
        got.dx[first + i] = element(c, leaf->grad, i);
    }
    ls_graph_destroy(&graph);
    return status;
}

/* --- comparison ------------------------------------------------------------------------------------ */

static void compare(const bn_case *c, int size, const char *what, const double *g, const double *w,
                    const double *fp32, int64_t count) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(w[i]));
    for (int64_t i = 0; i < count; i++) {
        double allowed = c->dtype == LS_FP64 || !fp32 ? 1e-12 * fmax(largest, 1) : fp32[i];
        if (!(fabs(g[i] - w[i]) <= allowed))
            fail_msg("%s[%lld] = %.17g, expected %.17g within %.2g (batch %lld, %lld pixels, %d shards, %d "
                     "ranks, fp%d)",
                     what, (long long)i, g[i], w[i], allowed, (long long)c->batch, (long long)c->pixels,
                     c->shards, size, c->dtype == LS_FP64 ? 64 : 32);
    }
}

static void check(const bn_case *c, int size) {
    bn_rank ranks[EXCHANGE_RANKS];
    const ls_shards *shards[EXCHANGE_RANKS] = {NULL};
    exchange e;
    int64_t count = c->batch * c->pixels * c->channels;
    for (int r = 0; r < size; r++) {
        rank_create(&ranks[r], c, r, size);
        shards[r] = &ranks[r].shards;
    }
    exchange_create(&e, size, shards);
    for (int r = 0; r < size; r++) ranks[r].reducer = exchange_reducer(&e, r);
    exchange_run(&e, run_rank, ranks);
    compare(c, size, "y", got.y, want.y, bound.y, count);
    compare(c, size, "dx", got.dx, want.dx, bound.dx, count);
    for (int r = 0; r < size; r++) { /* each rank has the whole of these */
        const ls_parameters *p = &ranks[r].parameters;
        for (int64_t k = 0; k < c->channels; k++) {
            ls_statistics_evaluate(&p->statistics[0], k, &got.mean[k], &got.variance[k]);
            if (!c->affine) continue;
            got.dgamma[k] = element(c, ls_parameter_gradient(p, &p->list[0]), k);
            got.dbeta[k] = element(c, ls_parameter_gradient(p, &p->list[1]), k);
        }
        compare(c, size, "mean", got.mean, want.mean, NULL, c->channels); /* double in both precisions */
        compare(c, size, "variance", got.variance, want.variance, NULL, c->channels);
        if (c->affine) compare(c, size, "dgamma", got.dgamma, want.dgamma, bound.dgamma, c->channels);
        if (c->affine) compare(c, size, "dbeta", got.dbeta, want.dbeta, bound.dbeta, c->channels);
        ls_parameters_destroy(&ranks[r].parameters);
    }
    exchange_destroy(&e);
}

static void check_all(ls_dtype dtype) {
    static const int64_t batches[] = {2, 5, 33, 80};
    static const int shards[] = {1, 4, 16}, sizes[] = {1, 2, 3, 5, 16};
    for (int i = 0; i < 4; i++)
        for (int v = 0; v < 3; v++)
            for (int variant = 0; variant < 4; variant++) {
                bn_case c = {.batch = batches[i],
                             .pixels = variant & 1 ? 6 : 1,
                             .channels = variant & 1 ? 3 : 7,
                             .shards = shards[v],
                             .mean = variant & 2 ? 5 : 0.5,
                             .eps = variant & 2 ? 1e-8 : 1e-5,
                             .affine = variant != 2,
                             .dtype = dtype};
                make_inputs(&c);
                two_pass(&c);
                for (int s = 0; s < 5 && sizes[s] <= shards[v]; s++) check(&c, sizes[s]);
            }
}

static void test_fp32(void **state) {
    (void)state;
    check_all(LS_FP32);
}

static void test_fp64(void **state) {
    (void)state;
    check_all(LS_FP64);
}

/* One value a channel: refused where statistics are those of the batch, and nowhere else. */
static void test_one_value(void **state) {
    static const struct {
        int64_t batch;
        int side;
        ls_purpose purpose;
        ls_status status;
    } cases[] = {{1, 1, LS_TRAINING, LS_USAGE}, {1, 1, LS_COLLECTING, LS_USAGE}, {1, 1, LS_EVALUATING, LS_OK},
                 {1, 1, LS_ATTACKING, LS_OK},   {2, 1, LS_TRAINING, LS_OK},      {1, 2, LS_TRAINING, LS_OK}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_parameters none = {0};
        const ls_backend *backend;
        ls_shards shards;
        ls_graph *graph;
        assert_int_equal(ls_backend_find(LS_FP32, &backend), LS_OK);
        assert_int_equal(ls_shards_create(&shards, 4, 0, 1, cases[i].batch), LS_OK);
        assert_int_equal(ls_graph_create(LS_RECORD, cases[i].purpose, backend, &none, &shards, NULL,
                                         &ls_reducer_local, &graph),
                         LS_OK);
        ls_batchnorm(graph, ls_input(graph, cases[i].side, cases[i].side, true, NULL), NULL, NULL, 1e-5, 0);
        assert_int_equal(ls_graph_status(graph), cases[i].status);
        if (cases[i].status != LS_OK) assert_non_null(strstr(ls_error_message(), "one value a channel"));
        ls_graph_destroy(&graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fp32), cmocka_unit_test(test_fp64),
                                       cmocka_unit_test(test_one_value)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
