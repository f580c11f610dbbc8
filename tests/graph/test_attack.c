/* Graphs for attacking: the gradient of the input in evaluation mode, the same bits eagerly, planned and
 * fused, equal to differences of the perturbed loss, with every parameter and statistic left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/planner.h"
#include "graph/replica.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

enum { SHARDS = 16, BATCH = 21, TRAINED = 2 };

static int64_t elements(const replica *r) {
    return r->data.height * r->data.width;
}

/* A replica whose statistics and moments are those of a few training steps, with gradients full of NaN. */
static void start(replica *r, const network_case *network, ls_dtype dtype) {
    replica_create(r, network, cpu_backend(dtype), SHARDS, 0, 1, BATCH);
    replica_reset(r);
    for (uint32_t step = 0; step < TRAINED; step++) replica_run_eager(r, LS_TRAINING, BATCH, step);
    const ls_parameters *p = &r->network->parameters;
    memset(p->gradient, 0xff, (size_t)p->total * ls_dtype_size(dtype));
}

static const ls_tensor *input_of(const replica *r) {
    return ls_graph_op(r->graph, 0)->out;
}

static size_t gradient_bytes(const replica *r) {
    return (size_t)(BATCH * elements(r)) * ls_dtype_size(r->backend->dtype);
}

/* --- eager, planned, fused: the same bits --------------------------------------------------------------- */

static void check_ways(const network_case *network, ls_dtype dtype) {
    replica r;
    start(&r, network, dtype);
    outcome before = replica_outcome(&r), after;
    replica_run_eager(&r, LS_ATTACKING, BATCH, 9);
    assert_non_null(input_of(&r)->grad);
    char *want = malloc(gradient_bytes(&r));
    assert_non_null(want);
    memcpy(want, input_of(&r)->grad, gradient_bytes(&r));
    double loss = replica_loss(&r)->nodes[LS_LOSS_SUM];
    for (int fuse = 0; fuse < 2; fuse++)
        for (int threads = 1; threads <= 3; threads++) {
            replica_plan(&r, LS_ATTACKING, fuse, threads);
            assert_int_equal(r.plan->part_count, 0);
            for (int i = 0; i < 2; i++) replica_run(&r, BATCH, 9);
            if (memcmp(want, input_of(&r)->grad, gradient_bytes(&r)) != 0)
                fail_msg("%s, fp%d, fuse %d, %d threads: another gradient", network->name,
                         dtype == LS_FP64 ? 64 : 32, fuse, threads);
            assert_true(replica_loss(&r)->nodes[LS_LOSS_SUM] == loss);
        }
    after = replica_outcome(&r);
    memcpy(after.loss, before.loss, sizeof after.loss);
    expect_same_outcome(network->name, &r, &after, &before); /* parameters' gradients: the NaN from before */
    outcome_free(&before);
    outcome_free(&after);
    free(want);
    replica_destroy(&r);
}

static void test_ways(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++) {
        check_ways(&network_cases[i], LS_FP32);
        check_ways(&network_cases[i], LS_FP64);
    }
}

/* An attack's loss is the evaluation's. */
static void test_evaluates(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++) {
        double sums[2][LS_LOSS_SUMS];
        const ls_purpose purposes[2] = {LS_EVALUATING, LS_ATTACKING};
        replica r;
        start(&r, &network_cases[i], LS_FP32);
        for (int k = 0; k < 2; k++) {
            replica_plan(&r, purposes[k], true, 1);
            replica_run(&r, BATCH, 3);
            memcpy(sums[k], replica_loss(&r)->nodes, sizeof sums[k]);
        }
        assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
        replica_destroy(&r);
    }
}

/* --- against differences -------------------------------------------------------------------------------- */

/* A graph of the same network behind a perturbed input. */
typedef struct probe {
    ls_perturbation perturbation;
    ls_graph *graph;
    ls_plan *plan;
} probe;

static void create_probe(probe *p, replica *r) {
    *p = (probe){.perturbation.sign = calloc((size_t)(BATCH * elements(r)), 1)};
    assert_non_null(p->perturbation.sign);
    assert_int_equal(ls_graph_create(LS_RECORD, LS_EVALUATING, r->backend, &r->network->parameters,
                                     &r->shards, NULL, &r->reducer, &p->graph),
                     LS_OK);
    ls_tensor *x = ls_perturbed_input(p->graph, r->data.height, r->data.width, true, &p->perturbation);
    x = (r->which->wire ? r->which->wire : ls_network_apply)(r->network, p->graph, x);
    assert_non_null(ls_softmax_cross_entropy(p->graph, x, 1e-8, false));
    assert_int_equal(ls_plan_create(p->graph, true, 1, &p->plan), LS_OK);
}

static double mean_loss(probe *p, replica *r, double epsilon) {
    p->perturbation.epsilon = epsilon;
    ls_run run = {.shards = &r->shards,
                  .data = &r->data,
                  .sample = r->sample,
                  .seed = REPLICA_SEED,
                  .epoch = 1,
                  .step = 9};
    assert_int_equal(ls_plan_run(p->plan, &run, r->team), LS_OK);
    return ls_graph_op(p->graph, ls_graph_op_count(p->graph) - 1)->nodes[LS_LOSS_SUM] / BATCH;
}

/* (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h; h small enough that no ReLU changes its side. */
static double difference(probe *p, replica *r) {
    const double h = 2e-6;
    double near = mean_loss(p, r, h) - mean_loss(p, r, -h),
           far = mean_loss(p, r, 2 * h) - mean_loss(p, r, -2 * h);
    return (8 * near - far) / (12 * h);
}

static void check_differences(const network_case *network) {
    replica r;
    probe p;
    double largest = 0, worst = 0;
    start(&r, network, LS_FP64);
    replica_plan(&r, LS_ATTACKING, true, 1);
    replica_run(&r, BATCH, 9);
    const double *gradient = input_of(&r)->grad;
    for (int64_t i = 0; i < BATCH * elements(&r); i++) largest = fmax(largest, fabs(gradient[i]));
    assert_true(largest > 0);
    create_probe(&p, &r);
    for (int64_t i = 0; i < BATCH * elements(&r); i += 7) {
        uint8_t pixel = r.data.images[r.sample[i / elements(&r)] * elements(&r) + i % elements(&r)];
        if (pixel == 0 || pixel == 255) continue; /* would be clipped */
        p.perturbation.sign[i] = 1;
        worst = fmax(worst, fabs(difference(&p, &r) - gradient[i]) / largest);
        p.perturbation.sign[i] = 0;
    }
    if (!(worst < 1e-7))
        fail_msg("%s: the gradient is off by %g of its largest element, %g", network->name, worst, largest);
    ls_plan_destroy(&p.plan);
    ls_graph_destroy(&p.graph);
    free(p.perturbation.sign);
    replica_destroy(&r);
}

static void test_differences(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++) check_differences(&network_cases[i]);
}

/* --- the perturbation ----------------------------------------------------------------------------------- */

static void test_perturbation(void **state) {
    static const double epsilons[] = {0, 0.1, 0.3, 1};
    const int8_t sign[] = {-1, 0, 1, 1, -1, 1};
    const uint8_t image[] = {0, 3, 255, 100, 100, 0};
    (void)state;
    for (int unit = 0; unit < 2; unit++)
        for (size_t e = 0; e < sizeof epsilons / sizeof *epsilons; e++) {
            double out[6], most = unit ? 1 : 255;
            float out32[6];
            ls_input_ref_f64.convert(image, 6, unit, out, 0);
            ls_input_ref_f64.perturb(sign, epsilons[e], 6, unit, out, 0);
            ls_input_ref_f32.convert(image, 6, unit, out32, 0);
            ls_input_ref_f32.perturb(sign, epsilons[e], 6, unit, out32, 0);
            for (int i = 0; i < 6; i++) {
                double x = image[i] / 255.0 * most + epsilons[e] * most * sign[i];
                x = fmin(fmax(x, 0), most);
                assert_true(fabs(out[i] - x) <= 1e-15 * most);
                assert_true(fabs((double)out32[i] - x) <= 1e-6 * most);
                if (epsilons[e] == 0) assert_true(out[i] == image[i] / 255.0 * most);
            }
        }
}

static void test_signs(void **state) {
    const double gradient[] = {1e-300, -0.0, 0.0, -1e-310, 5, (double)NAN};
    const float gradient32[] = {1e-38f, -0.0f, 0.0f, -1e-40f, 5, NAN};
    const int8_t want[] = {1, 0, 0, -1, 1, 0};
    int8_t got[6];
    (void)state;
    ls_input_ref_f64.signs(gradient, 6, got, NULL);
    assert_memory_equal(got, want, sizeof want);
    ls_input_ref_f32.signs(gradient32, 6, got, NULL);
    assert_memory_equal(got, want, sizeof want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),        cmocka_unit_test(test_evaluates),
        cmocka_unit_test(test_differences), cmocka_unit_test(test_perturbation),
        cmocka_unit_test(test_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
