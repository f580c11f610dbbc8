/* Instance norm on ranks against the formulas, written out a plane at a time in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "layers/instance_norm/instance_norm.h"
#include "layers/op_case.h"

typedef struct norm_case {
    int64_t height, width, channels, batch;
    int shards;
    double mean, eps; /* the channels' means are in (-mean, mean); their deviation is about 1 */
    ls_eps_place place;
    bool affine;
} norm_case;

static double x[OP_ELEMENTS], dy[OP_ELEMENTS], parameters[2 * OP_PARAMETERS];
static op_result want, bound, got;

static ls_tensor *apply(const void *which, ls_graph *graph, ls_tensor *t) {
    const norm_case *c = which;
    ls_tensor *gamma = c->affine ? ls_graph_parameter(graph, 0) : NULL;
    ls_tensor *beta = c->affine ? ls_graph_parameter(graph, 1) : NULL;
    return ls_instance_norm(graph, t, gamma, beta, c->eps, c->place);
}

static int64_t elements(const norm_case *c) {
    return c->batch * c->height * c->width * c->channels;
}

static void make_inputs(const norm_case *c) {
    assert_in_range(elements(c), 1, OP_ELEMENTS);
    assert_in_range(c->channels, 1, OP_PARAMETERS);
    for (int64_t i = 0; i < elements(c); i++) {
        x[i] = (double)(float)(c->mean * op_uniform(1, i % c->channels) + 1.7 * op_uniform(2, i));
        dy[i] = op_uniform(3, i);
    }
    for (int64_t k = 0; k < c->channels; k++) {
        parameters[k] = c->affine ? 1 + op_quarters(4, k, 2) : 1;
        parameters[c->channels + k] = c->affine ? op_uniform(5, k) : 0;
    }
}

/* One plane: its first element, its elements `channels` apart. u bounds the error of one rounding to the
 * precision at hand; the kernels compute in double, of which 1e-13 of what is added up is left. */
static void naive_plane(const norm_case *c, double u, int64_t first, int64_t channel) {
    const int64_t pixels = c->height * c->width, end = first + pixels * c->channels;
    const double m = (double)pixels, gamma = parameters[channel], beta = parameters[c->channels + channel];
    double mean = 0, variance = 0, sum = 0, products = 0, scatter = 0, size = 0;
    for (int64_t i = first; i < end; i += c->channels) mean += x[i] / m;
    for (int64_t i = first; i < end; i += c->channels) variance += (x[i] - mean) * (x[i] - mean) / m;
    const double sigma = sqrt(variance);
    const double s = c->place == LS_EPS_IN_ROOT ? sqrt(variance + c->eps) : sigma + c->eps;
    for (int64_t i = first; i < end; i += c->channels) {
        sum += gamma * dy[i];
        products += gamma * dy[i] * (x[i] - mean);
        scatter += fabs(dy[i] * (x[i] - mean) / s);
        size += fabs(dy[i]);
        want.gradient[channel] += dy[i] * (x[i] - mean) / s;
        want.gradient[c->channels + channel] += dy[i];
    }
    /* the derivative of s with respect to x, but for the deviation */
    const double slope = c->place == LS_EPS_IN_ROOT ? 1 / (m * s) : 1 / (m * sigma);
    for (int64_t i = first; i < end; i += c->channels) {
        want.y[i] = gamma * (x[i] - mean) / s + beta;
        want.dx[i] = (gamma * dy[i] - sum / m) / s - products / (s * s) * slope * (x[i] - mean);
        bound.y[i] = u * fabs(want.y[i]) + 1e-13 * (fabs(gamma) * (fabs(mean) + 2) / s + 1);
        bound.dx[i] =
            u * fabs(want.dx[i]) + 1e-13 * (size + scatter + 1) * (fabs(mean) + 2) / s * fabs(gamma);
    }
    /* a rounding at the end of the shard and one at each level of the tree, of at most 16 shards */
    bound.gradient[channel] += 5 * u * scatter + 1e-13 * (scatter + size * fabs(mean));
    bound.gradient[c->channels + channel] += 5 * u * size + 1e-13 * size;
}

static void naive(const norm_case *c, ls_dtype dtype) {
    const int64_t plane = c->height * c->width * c->channels;
    memset(&want, 0, sizeof want);
    memset(&bound, 0, sizeof bound);
    for (int64_t n = 0; n < c->batch; n++)
        for (int64_t k = 0; k < c->channels; k++)
            naive_plane(c, dtype == LS_FP32 ? 0x1p-24 : 0x1p-52, n * plane + k, k);
}

static void check(const norm_case *n) {
    static const int ranks[] = {1, 2, 3, 5, 16};
    make_inputs(n);
    for (int way = 0; way < 4; way++) {
        op_case c = {.dims = 3,
                     .shape = {n->height, n->width, n->channels},
                     .batch = n->batch,
                     .shards = n->shards,
                     .dtype = way & 1 ? LS_FP64 : LS_FP32,
                     .twice = way & 2,
                     .parameters = n->affine ? n->channels : 0,
                     .apply = apply,
                     .which = n};
        naive(n, c.dtype);
        for (int64_t i = 0; c.twice && i < elements(n); i++) {
            want.dx[i] *= 2;
            bound.dx[i] *= 2;
        }
        for (int64_t i = 0; c.twice && i < 2 * c.parameters; i++) {
            want.gradient[i] *= 2;
            bound.gradient[i] *= 2;
        }
        /* a parameter that is read twice needs all shards on one rank */
        for (int r = 0; r < (c.twice && n->affine ? 1 : 5) && ranks[r] <= n->shards; r++) {
            op_run(&c, ranks[r], x, dy, parameters, &got);
            op_expect("y", &c, ranks[r], got.y, want.y, bound.y, elements(n));
            op_expect("dx", &c, ranks[r], got.dx, want.dx, bound.dx, elements(n));
            op_expect("dgamma, dbeta", &c, ranks[r], got.gradient, want.gradient, bound.gradient,
                      2 * c.parameters);
        }
    }
}

static void test_formulas(void **state) {
    static const int64_t shapes[][3] = {{2, 3, 3}, {7, 1, 1}, {5, 5, 17}, {1, 3, 33}};
    static const struct {
        int64_t batch;
        int shards;
    } batches[] = {{1, 1}, {5, 16}, {18, 4}};
    (void)state;
    for (int s = 0; s < 4; s++)
        for (int b = 0; b < 3; b++)
            for (int variant = 0; variant < 4; variant++) {
                norm_case c = {.height = shapes[s][0],
                               .width = shapes[s][1],
                               .channels = shapes[s][2],
                               .batch = batches[b].batch,
                               .shards = batches[b].shards,
                               .mean = variant & 2 ? 5 : 0.5,
                               .eps = variant & 2 ? 0.1 : 1e-5,
                               .place = variant & 1 ? LS_EPS_AT_DEVIATION : LS_EPS_IN_ROOT,
                               .affine = variant != 2};
                check(&c);
            }
}

/* Equal pixels: y is beta, to the bit, whatever they are. The gradient is 0 where eps is added to the
 * deviation; in the root the divisor is smooth, and it is (g - mean of g) / sqrt(eps). */
static void test_no_deviation(void **state) {
    static const double gradient[6] = {1, 2, 3, -1, 4, 3};
    (void)state;
    for (int way = 0; way < 4; way++) {
        const norm_case n = {.height = 2,
                             .width = 3,
                             .channels = 1,
                             .eps = 0.25,
                             .affine = true,
                             .place = way & 1 ? LS_EPS_AT_DEVIATION : LS_EPS_IN_ROOT};
        const op_case c = {.dims = 3,
                           .shape = {2, 3, 1},
                           .batch = 1,
                           .shards = 1,
                           .parameters = 1,
                           .apply = apply,
                           .dtype = way & 2 ? LS_FP64 : LS_FP32,
                           .which = &n};
        for (int i = 0; i < 6; i++) {
            x[i] = 0.1;
            want.y[i] = 0.75;
            want.dx[i] = way & 1 ? 0 : 3 * (gradient[i] - 2) / 0.5;
        }
        parameters[0] = 3;
        parameters[1] = 0.75;
        want.gradient[0] = 0;
        want.gradient[1] = 12;
        op_run(&c, 1, x, gradient, parameters, &got);
        op_expect("y", &c, 1, got.y, want.y, NULL, 6);
        op_expect("dx", &c, 1, got.dx, want.dx, NULL, 6);
        op_expect("dgamma, dbeta", &c, 1, got.gradient, want.gradient, NULL, 2);
    }
}

static void test_shapes(void **state) {
    const int64_t image[3] = {5, 4, 3}, pixel[3] = {1, 1, 8}, vector[1] = {60};
    ls_layer layer;
    (void)state;
    assert_int_equal(op_declare(&ls_instance_norm_layer, "", 3, image, &layer), LS_OK);
    assert_true(layer.out_dims == 3 && memcmp(layer.out, image, sizeof image) == 0);
    op_expect_refusal(&ls_instance_norm_layer, "", 3, pixel, "instance_norm of 1x1x8|more than one pixel");
    op_expect_refusal(&ls_instance_norm_layer, "eps_added deviation affine false", 3, pixel, "of 1x1x8");
    op_expect_refusal(&ls_instance_norm_layer, "", 1, vector, "of 60|expected height x width x channels");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_no_deviation),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
