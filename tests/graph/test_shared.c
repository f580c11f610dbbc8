/* Parameters that several ops read: their gradients are those of as many parameters of equal values, added in
 * the order of the tape, to the bit, eager or planned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/probe.h"
#include "graph/replica.h"
#include "layers/dense/dense.h"
#include "layers/elementwise.h"
#include "layers/residual/residual.h"

enum { SHARDS = 16, BATCH = 33, USES = 3 };

static ls_tensor *apply(const ls_network *network, int layer, ls_graph *graph, ls_tensor *x) {
    return network->layers[layer].class->apply(&network->layers[layer], graph, x);
}

/* A first layer, then three times a layer, BatchNorm, relu; `step` is 0 where the layers of all three are the
 * same. */
static ls_tensor *thrice(const ls_network *network, int step, ls_graph *graph, ls_tensor *x) {
    x = apply(network, 0, graph, x);
    for (int use = 0; use < USES; use++) {
        x = apply(network, 1 + use * step, graph, x);
        x = apply(network, 2 + use * step, graph, x);
        x = ls_activate(graph, x, (ls_activation){.class = &ls_relu_activation});
    }
    for (int i = 3 + (USES - 1) * step; i < network->count; i++) x = apply(network, i, graph, x);
    return x;
}
static ls_tensor *shared(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    return thrice(network, 0, graph, x);
}
static ls_tensor *separate(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    return thrice(network, 2, graph, x);
}

#define FC   "{dense: {units: 19}}, {batchnorm: {affine: true}}"
#define CONV "{conv2d: {channels: 5, kernel: 3, pad: 1}}, {batchnorm: {affine: true}}"
#define NORM "{conv2d: {channels: 5, kernel: 3, pad: 1, bias: false}}, instance_norm"
#define HEAD "flatten, {dense: {units: 5}}"
static const struct {
    network_case once, thrice;
} cases[] = {
    {{"dense, shared", 5, 7, 5, "[{dense: {units: 19}}, " FC ", {dense: {units: 5}}]", shared, 0},
     {"dense", 5, 7, 5, "[{dense: {units: 19}}, " FC ", " FC ", " FC ", {dense: {units: 5}}]", separate, 0}},
    {{"conv2d, shared", 6, 5, 5, "[{conv2d: {channels: 5}}, " CONV ", " HEAD "]", shared, 0},
     {"conv2d", 6, 5, 5, "[{conv2d: {channels: 5}}, " CONV ", " CONV ", " CONV ", " HEAD "]", separate, 0}},
    {{"instance_norm, shared", 6, 5, 5, "[{conv2d: {channels: 5}}, " NORM ", " HEAD "]", shared, 0},
     {"instance_norm", 6, 5, 5, "[{conv2d: {channels: 5}}, " NORM ", " NORM ", " NORM ", " HEAD "]", separate,
      0}},
};

static const ls_parameter *find(const ls_parameters *p, int layer, const char *what) {
    for (int i = 0; i < p->count; i++)
        if (atoi(p->list[i].name) == layer && strcmp(strchr(p->list[i].name, '.') + 1, what) == 0)
            return &p->list[i];
    return NULL;
}

/* The layer of the shared network that layer i of the other one stands for, and the use. */
static int original(int i, int *use) {
    *use = i < 1 || i > 2 * USES ? 0 : (i - 1) / 2;
    return i < 1 ? i : i <= 2 * USES ? 1 + (i - 1) % 2 : i - 2 * (USES - 1);
}

static void take_values(replica *to, const replica *from) {
    ls_parameters *p = &to->network->parameters;
    const ls_parameters *q = &from->network->parameters;
    for (int i = 0; i < p->count; i++) {
        int use;
        const ls_parameter *same =
            find(q, original(atoi(p->list[i].name), &use), strchr(p->list[i].name, '.') + 1);
        assert_non_null(same);
        assert_int_equal(same->count, p->list[i].count);
        memcpy(ls_arena_at(p, p->value, p->list[i].offset), ls_arena_at(q, q->value, same->offset),
               (size_t)same->count * ls_dtype_size(p->backend->dtype));
    }
}

static double element(const ls_parameters *p, const ls_parameter *of, int64_t i) {
    const void *gradient = ls_parameter_gradient(p, of);
    return p->backend->dtype == LS_FP64 ? ((const double *)gradient)[i]
                                        : (double)((const float *)gradient)[i];
}

/* Of all uses that take part, in the order of the tape. */
static double added(const replica *r, const char *what, int layer, int64_t i) {
    const ls_parameters *p = &r->network->parameters;
    double sum = 0;
    for (int k = 0, first = 1; k < r->network->count; k++) {
        int use;
        if (original(k, &use) != layer) continue;
        double share = element(p, find(p, k, what), i);
        sum = first                          ? share
              : p->backend->dtype == LS_FP64 ? sum + share
                                             : (double)((float)sum + (float)share);
        first = 0;
    }
    return sum;
}

static void expect_sums(const char *what, const replica *got, const replica *want) {
    const ls_parameters *p = &got->network->parameters;
    for (int i = 0; i < p->count; i++)
        for (int64_t k = 0; k < p->list[i].count; k++) {
            double a = element(p, &p->list[i], k);
            double b = added(want, strchr(p->list[i].name, '.') + 1, atoi(p->list[i].name), k);
            if (!(a == b))
                fail_msg("%s: gradient of %s[%lld]: %.17g, expected %.17g", what, p->list[i].name,
                         (long long)k, a, b);
        }
}

static void test_sums(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int way = 0; way < 4; way++) {
            replica once, many;
            ls_dtype dtype = way & 1 ? LS_FP64 : LS_FP32;
            replica_create(&once, &cases[c].once, cpu_backend(dtype), SHARDS, 0, 1, BATCH);
            replica_create(&many, &cases[c].thrice, cpu_backend(dtype), SHARDS, 0, 1, BATCH);
            take_values(&many, &once);
            replica_run_eager(&many, LS_TRAINING, BATCH, 1);
            if (way & 2) {
                replica_run_eager(&once, LS_TRAINING, BATCH, 1);
                expect_sums("eager", &once, &many);
            } else {
                for (int fuse = 0; fuse < 2; fuse++) {
                    replica_plan(&once, LS_TRAINING, fuse, 1 + fuse);
                    replica_run(&once, 7, 2); /* nothing is left of the step before */
                    replica_run(&once, BATCH, 1);
                    expect_sums(fuse ? "fused" : "planned", &once, &many);
                }
            }
            replica_destroy(&once);
            replica_destroy(&many);
        }
}

/* One tape, several passes: a gradient is of the ops that the pass goes through, not of those of the pass
 * before. */
static void test_passes(void **state) {
    const int64_t length = 2;
    const double data[2] = {3, 5}, weights[2] = {1, 1}, ones[2] = {1, 1};
    ls_parameters p = {0};
    ls_shards shards;
    ls_graph *graph;
    int index;
    (void)state;
    assert_int_equal(ls_shards_create(&shards, 1, 0, 1, 1), LS_OK);
    assert_int_equal(
        ls_parameters_add(&p, "0", "weight", LS_LAYOUT_DENSE, 2, (int64_t[]){2, 2}, true, &index), LS_OK);
    assert_int_equal(ls_parameters_allocate(&p, cpu_backend(LS_FP64), 0, 1), LS_OK);
    assert_int_equal(ls_parameter_set(&p, &p.list[0], (double[]){1, 0, 0, 1}), LS_OK);
    ls_run run = {.shards = &shards};
    assert_int_equal(
        ls_graph_create(LS_EAGER, LS_TRAINING, p.backend, &p, &shards, &run, &ls_reducer_local, &graph),
        LS_OK);
    ls_tensor *x = ls_leaf(graph, 1, &length, data, false), *one = ls_leaf(graph, 1, &length, ones, false);
    ls_tensor *w = ls_graph_parameter(graph, index);
    ls_tensor *first = ls_weighted_sum(graph, ls_dense(graph, x, w, NULL), weights);
    int before = ls_graph_op_count(graph);
    for (int again = 0; again < 2; again++) { /* the tape may be cleared, and grows again */
        ls_tensor *y = ls_dense(graph, one, w, NULL);
        ls_tensor *second = ls_weighted_sum(graph, y, weights);
        ls_tensor *both = ls_weighted_sum(graph, ls_add(graph, y, ls_dense(graph, x, w, NULL)), weights);
        const struct {
            ls_tensor *loss;
            double from_first, from_second; /* of an output's weights, which are the same for both */
        } passes[] = {{both, 4, 6}, {first, 3, 5}, {second, 1, 1}, {both, 4, 6}, {second, 1, 1}};
        assert_int_equal(ls_graph_status(graph), LS_OK);
        assert_int_equal(w->consumers, 3);
        for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
            const double *gradient = p.gradient; /* [inputs][outputs] */
            assert_int_equal(ls_backward(passes[i].loss), LS_OK);
            for (int k = 0; k < 4; k++)
                assert_true(gradient[k] == (k < 2 ? passes[i].from_first : passes[i].from_second));
        }
        ls_graph_clear(graph, before);
        assert_int_equal(w->consumers, 1);
    }
    ls_graph_destroy(&graph);
    ls_parameters_destroy(&p);
}

/* Where the shares of several ranks would have to be added. */
static void test_ranks(void **state) {
    replica r;
    (void)state;
    replica_create(&r, &cases[0].once, cpu_backend(LS_FP32), SHARDS, 1, 3, BATCH);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_USAGE);
    assert_non_null(strstr(ls_error_message(),
                           "dense: reads 1.weight as an operation before it does, on a rank with 5 of 16 "
                           "shards"));
    assert_int_equal(replica_record(&r, LS_EVALUATING), LS_OK); /* without gradients all is well */
    replica_destroy(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
