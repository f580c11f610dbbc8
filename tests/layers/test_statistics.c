/* Which mean and variance a BatchNorm evaluates with, against their definitions, through graphs as training
 * runs them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "check/probe.h"
#include "core/rng.h"
#include "layers/batchnorm/batchnorm.h"

enum { CHANNELS = 3, PIXELS = 2, BATCHES = 4, MOST = 9, ROW = CHANNELS * PIXELS };

static const double eps = 1e-5;
static const int64_t sizes[BATCHES] = {7, 9, 2, 5};
static double batches[BATCHES][MOST * ROW];

typedef struct layer {
    const ls_backend *backend;
    ls_parameters parameters;
    double y[MOST * ROW]; /* of the latest run */
} layer;

static int make_batches(void **state) {
    (void)state;
    for (uint32_t b = 0; b < BATCHES; b++)
        for (uint32_t i = 0; i < MOST * ROW; i++) {
            ls_rng rng = ls_rng_stream(5, LS_RNG_TEST, 0, b, i);
            uint32_t words[4];
            ls_rng_block(&rng, 0, words);
            batches[b][i] = b + i % CHANNELS + 2 * ls_rng_unit(words[0]);
        }
    return 0;
}

static void create(layer *l, int kind, double momentum) {
    int index;
    *l = (layer){0};
    assert_int_equal(ls_backend_find(LS_FP64, &l->backend), LS_OK);
    assert_int_equal(ls_parameters_add_statistics(&l->parameters, "0", kind, momentum, CHANNELS, &index),
                     LS_OK);
    assert_int_equal(ls_parameters_allocate(&l->parameters, l->backend, 0, 1), LS_OK);
    ls_statistics_reset(&l->parameters.statistics[0]);
}

static void run(layer *l, ls_purpose purpose, int batch) {
    static const int64_t shape[] = {1, PIXELS, CHANNELS};
    ls_shards shards;
    ls_graph *graph;
    assert_int_equal(ls_shards_create(&shards, 4, 0, 1, sizes[batch]), LS_OK);
    ls_run r = {.shards = &shards};
    assert_int_equal(ls_graph_create(LS_EAGER, purpose, l->backend, &l->parameters, &shards, &r,
                                     &ls_reducer_local, &graph),
                     LS_OK);
    ls_tensor *y = ls_batchnorm(graph, ls_leaf(graph, 3, shape, batches[batch], false), NULL, NULL, eps, 0);
    assert_non_null(y);
    for (int i = 0; i < sizes[batch] * ROW; i++) l->y[i] = ((const double *)y->value)[i];
    ls_graph_destroy(&graph);
}

/* Mean and biased variance of channel c over batches [first, last), in two passes. */
static void moments(int first, int last, int c, double *mean, double *variance) {
    double sum = 0, squares = 0, n = 0;
    for (int b = first; b < last; b++)
        for (int64_t i = c; i < sizes[b] * ROW; i += CHANNELS, n++) sum += batches[b][i];
    *mean = sum / n;
    for (int b = first; b < last; b++)
        for (int64_t i = c; i < sizes[b] * ROW; i += CHANNELS)
            squares += (batches[b][i] - *mean) * (batches[b][i] - *mean);
    *variance = squares / n;
}

static void assert_near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-12 * fmax(1, fabs(expected))))
        fail_msg("%.17g, expected %.17g", got, expected);
}

/* The statistics are these, and an evaluation of batch 0 normalises by them and changes nothing. */
static void expect_evaluation(layer *l, const double *mean, const double *variance) {
    for (int times = 0; times < 2; times++) {
        run(l, LS_EVALUATING, 0);
        for (int c = 0; c < CHANNELS; c++) {
            double m, v;
            ls_statistics_evaluate(&l->parameters.statistics[0], c, &m, &v);
            assert_near(m, mean[c]);
            assert_near(v, variance[c]);
            for (int64_t i = c; i < sizes[0] * ROW; i += CHANNELS)
                assert_near(l->y[i], (batches[0][i] - mean[c]) / sqrt(variance[c] + eps));
        }
    }
}

static void test_before_any_update(void **state) {
    static const double zeros[CHANNELS] = {0, 0, 0}, ones[CHANNELS] = {1, 1, 1};
    (void)state;
    for (int kind = LS_STATISTICS_EXPONENTIAL; kind <= LS_STATISTICS_DATASET; kind++) {
        layer l;
        create(&l, kind, 0.1);
        expect_evaluation(&l, zeros, ones);
        ls_parameters_destroy(&l.parameters);
    }
}

/* torch.nn.BatchNorm: running = (1 - momentum) running + momentum batch, the variance unbiased; from 0 and 1.
 */
static void test_exponential(void **state) {
    const double momentum = 0.3;
    double mean[CHANNELS] = {0, 0, 0}, variance[CHANNELS] = {1, 1, 1};
    layer l;
    (void)state;
    create(&l, LS_STATISTICS_EXPONENTIAL, momentum);
    for (int b = 0; b < BATCHES; b++) {
        run(&l, LS_TRAINING, b);
        for (int c = 0; c < CHANNELS; c++) {
            double m, v, n = (double)(sizes[b] * PIXELS);
            moments(b, b + 1, c, &m, &v);
            mean[c] = (1 - momentum) * mean[c] + momentum * m;
            variance[c] = (1 - momentum) * variance[c] + momentum * v * n / (n - 1);
        }
        expect_evaluation(&l, mean, variance);
    }
    ls_parameters_destroy(&l.parameters);
}

/* Each batch counts once: the mean of the means, the mean of the variances plus the variance of the means. */
static void test_cumulative(void **state) {
    layer l;
    (void)state;
    create(&l, LS_STATISTICS_CUMULATIVE, 0);
    for (int b = 0; b < BATCHES; b++) {
        double mean[CHANNELS], variance[CHANNELS];
        run(&l, LS_TRAINING, b);
        for (int c = 0; c < CHANNELS; c++) {
            double m[BATCHES], v[BATCHES];
            mean[c] = variance[c] = 0;
            for (int i = 0; i <= b; i++) {
                moments(i, i + 1, c, &m[i], &v[i]);
                mean[c] += m[i] / (b + 1);
            }
            for (int i = 0; i <= b; i++)
                variance[c] += (v[i] + (m[i] - mean[c]) * (m[i] - mean[c])) / (b + 1);
        }
        expect_evaluation(&l, mean, variance);
    }
    ls_parameters_destroy(&l.parameters);
}

/* The whole set in one pass of collecting graphs, which normalise each batch by itself; training leaves them
 * alone. */
static void test_dataset(void **state) {
    double mean[CHANNELS], variance[CHANNELS];
    layer l;
    (void)state;
    create(&l, LS_STATISTICS_DATASET, 0);
    run(&l, LS_TRAINING, 3);
    for (int b = 0; b < BATCHES; b++) {
        run(&l, LS_COLLECTING, b);
        for (int c = 0; c < CHANNELS; c++) {
            double m, v;
            moments(b, b + 1, c, &m, &v);
            for (int64_t i = c; i < sizes[b] * ROW; i += CHANNELS)
                assert_near(l.y[i], (batches[b][i] - m) / sqrt(v + eps));
        }
    }
    run(&l, LS_TRAINING, 2);
    for (int c = 0; c < CHANNELS; c++) moments(0, BATCHES, c, &mean[c], &variance[c]);
    expect_evaluation(&l, mean, variance);
    ls_statistics_reset(&l.parameters.statistics[0]);
    run(&l, LS_COLLECTING, 1);
    for (int c = 0; c < CHANNELS; c++) moments(1, 2, c, &mean[c], &variance[c]);
    expect_evaluation(&l, mean, variance);
    ls_parameters_destroy(&l.parameters);
}

static void test_collecting_leaves_others_alone(void **state) {
    (void)state;
    for (int kind = LS_STATISTICS_EXPONENTIAL; kind <= LS_STATISTICS_CUMULATIVE; kind++) {
        double mean[CHANNELS], variance[CHANNELS];
        layer l;
        create(&l, kind, 0.1);
        run(&l, LS_TRAINING, 0);
        for (int c = 0; c < CHANNELS; c++)
            ls_statistics_evaluate(&l.parameters.statistics[0], c, &mean[c], &variance[c]);
        run(&l, LS_COLLECTING, 1);
        expect_evaluation(&l, mean, variance);
        ls_parameters_destroy(&l.parameters);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_any_update),
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_cumulative),
        cmocka_unit_test(test_dataset),
        cmocka_unit_test(test_collecting_leaves_others_alone),
    };
    return cmocka_run_group_tests(tests, make_batches, NULL);
}
