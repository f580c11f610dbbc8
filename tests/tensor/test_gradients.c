/* Gradients of every tensor operation against five-point central differences, in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

enum { LEAVES = 2, MOST_ELEMENTS = 256 };

typedef struct leaf_shape {
    int dims;
    int64_t shape[LS_MAX_DIMS];
} leaf_shape;

typedef struct gradient_case {
    const char *name;
    ls_tensor *(*build)(ls_tensor *const *x);
    double low, high; /* of the leaves */
    leaf_shape leaf[LEAVES];
} gradient_case;

#define BINARY(op)                                                                                           \
    static ls_tensor *build_##op(ls_tensor *const *x) {                                                      \
        return ls_tensor_##op(x[0], x[1]);                                                                   \
    }
#define UNARY(op)                                                                                            \
    static ls_tensor *build_##op(ls_tensor *const *x) {                                                      \
        return ls_tensor_##op(x[0]);                                                                         \
    }
BINARY(add)
BINARY(subtract)
BINARY(multiply)
BINARY(matmul)
UNARY(exp)
UNARY(log)
UNARY(square)
UNARY(sqrt)
UNARY(inverse)
UNARY(negate)

static ls_tensor *sum_all(ls_tensor *const *x) {
    return ls_tensor_sum(x[0], 0, NULL, false);
}
static ls_tensor *sum_middle(ls_tensor *const *x) {
    return ls_tensor_sum(x[0], 1, (const int[]){1}, false);
}
static ls_tensor *sum_ends(ls_tensor *const *x) {
    return ls_tensor_sum(x[0], 2, (const int[]){-1, 0}, true);
}
static ls_tensor *mean_last(ls_tensor *const *x) {
    return ls_tensor_mean(x[0], 1, (const int[]){-1}, false);
}
static ls_tensor *mean_all(ls_tensor *const *x) {
    return ls_tensor_mean(x[0], 0, NULL, true);
}

static ls_tensor *reshape(ls_tensor *const *x) {
    return ls_tensor_square(ls_tensor_reshape(x[0], LS_SHAPE(3, -1)));
}
static ls_tensor *expand(ls_tensor *const *x) {
    return ls_tensor_multiply(ls_tensor_expand_dims(x[0], 1), ls_tensor_expand_dims(x[1], 0));
}
static ls_tensor *squeeze(ls_tensor *const *x) {
    return ls_tensor_exp(ls_tensor_squeeze(ls_tensor_sum(x[0], 1, (const int[]){1}, true), -2));
}
static ls_tensor *transpose(ls_tensor *const *x) {
    return ls_tensor_matmul(ls_tensor_transpose(x[0], 0, 1), x[0]);
}
static ls_tensor *transpose_far(ls_tensor *const *x) {
    return ls_tensor_transpose(ls_tensor_square(x[0]), 0, -1);
}
static ls_tensor *slice(ls_tensor *const *x) {
    return ls_tensor_slice(x[0], 3, (const ls_slice[]){{1, LS_END, 2}, LS_ALL, {-3, -1, 1}});
}
static ls_tensor *slice_overlapping(ls_tensor *const *x) {
    ls_tensor *left = ls_tensor_slice(x[0], 2, (const ls_slice[]){LS_ALL, {0, -1, 1}});
    ls_tensor *right = ls_tensor_slice(x[0], 2, (const ls_slice[]){LS_ALL, {1, LS_END, 1}});
    return ls_tensor_multiply(left, right);
}
static ls_tensor *select_axis(ls_tensor *const *x) {
    return ls_tensor_square(ls_tensor_select(x[0], 1, -2));
}
static ls_tensor *take(ls_tensor *const *x) {
    return ls_tensor_square(ls_tensor_take(x[0], 1, 5, (const int64_t[]){2, 0, -1, 2, 2}));
}
static ls_tensor *twice(ls_tensor *const *x) {
    return ls_tensor_multiply(x[0], x[0]);
}
static ls_tensor *with_own_view(ls_tensor *const *x) {
    ls_tensor *row = ls_tensor_reshape(x[0], LS_SHAPE(1, 4));
    return ls_tensor_matmul(row, ls_tensor_exp(ls_tensor_add(x[0], ls_tensor_reshape(row, LS_SHAPE(4, 1)))));
}
static ls_tensor *diamond(ls_tensor *const *x) {
    ls_tensor *y = ls_tensor_exp(x[0]);
    ls_tensor *left = ls_tensor_multiply(y, x[1]), *right = ls_tensor_inverse(ls_tensor_add(y, y));
    return ls_tensor_subtract(ls_tensor_multiply(left, right), ls_tensor_sqrt(y));
}
/* Cross entropy of softmax from its definition, with the labels picked out by an index array. */
static ls_tensor *cross_entropy(ls_tensor *const *x) {
    ls_tensor *sum = ls_tensor_sum(ls_tensor_exp(x[0]), 1, (const int[]){1}, true);
    ls_tensor *log_p = ls_tensor_reshape(ls_tensor_subtract(x[0], ls_tensor_log(sum)), LS_SHAPE(12));
    return ls_tensor_negate(
        ls_tensor_mean(ls_tensor_take(log_p, 0, 3, (const int64_t[]){1, 7, 8}), 0, NULL, false));
}
static ls_tensor *normalise(ls_tensor *const *x) {
    ls_tensor *c = ls_tensor_subtract(x[0], ls_tensor_mean(x[0], 1, (const int[]){0}, false));
    ls_tensor *variance = ls_tensor_mean(ls_tensor_square(c), 1, (const int[]){0}, false);
    return ls_tensor_multiply(
        c, ls_tensor_inverse(ls_tensor_sqrt(ls_tensor_add(variance, ls_tensor_square(x[1])))));
}

/* clang-format off */
static const gradient_case cases[] = {
    {"add", build_add, -1, 1, {{2, {3, 5}}, {2, {3, 5}}}},
    {"add, broadcast", build_add, -1, 1, {{3, {2, 1, 3}}, {2, {5, 1}}}},
    {"add, scalar", build_add, -1, 1, {{0, {0}}, {2, {3, 2}}}},
    {"subtract", build_subtract, -1, 1, {{2, {3, 5}}, {1, {5}}}},
    {"subtract, left is smaller", build_subtract, -1, 1, {{2, {1, 5}}, {3, {2, 3, 5}}}},
    {"multiply", build_multiply, -1, 1, {{3, {3, 2, 3}}, {3, {3, 2, 3}}}},
    {"multiply, broadcast", build_multiply, -1, 1, {{4, {1, 3, 1, 2}}, {3, {1, 5, 2}}}},
    {"multiply, 8 dimensions", build_multiply, -1, 1,
     {{8, {2, 1, 1, 3, 1, 2, 1, 1}}, {8, {1, 2, 1, 3, 1, 1, 1, 2}}}},
    {"multiply, scalars", build_multiply, -1, 1, {{0, {0}}, {0, {0}}}},
    {"matmul", build_matmul, -1, 1, {{2, {3, 5}}, {2, {5, 7}}}},
    {"matmul, wide", build_matmul, -1, 1, {{2, {2, 3}}, {2, {3, 37}}}},
    {"matmul, vectors", build_matmul, -1, 1, {{2, {1, 5}}, {2, {5, 1}}}},
    {"matmul, outer", build_matmul, -1, 1, {{2, {4, 1}}, {2, {1, 3}}}},
    {"matmul, batched", build_matmul, -1, 1, {{3, {2, 3, 4}}, {3, {2, 4, 2}}}},
    {"matmul, broadcast", build_matmul, -1, 1, {{4, {2, 1, 3, 2}}, {3, {3, 2, 3}}}},
    {"matmul, one matrix for all", build_matmul, -1, 1, {{3, {3, 2, 3}}, {2, {3, 2}}}},
    {"exp", build_exp, -2, 2, {{2, {3, 5}}}},
    {"log", build_log, 0.5, 3, {{2, {3, 5}}}},
    {"square", build_square, -2, 2, {{1, {7}}}},
    {"sqrt", build_sqrt, 0.5, 3, {{2, {3, 5}}}},
    {"inverse", build_inverse, 0.5, 2, {{2, {3, 5}}}},
    {"inverse, negative", build_inverse, -2, -0.5, {{2, {3, 5}}}},
    {"negate", build_negate, -1, 1, {{2, {3, 5}}}},
    {"sum over all", sum_all, -1, 1, {{3, {3, 2, 5}}}},
    {"sum over an inner axis", sum_middle, -1, 1, {{3, {3, 2, 5}}}},
    {"sum over the outer axes", sum_ends, -1, 1, {{3, {3, 2, 5}}}},
    {"mean over one axis", mean_last, -1, 1, {{2, {3, 5}}}},
    {"mean over all", mean_all, -1, 1, {{2, {3, 5}}}},
    {"reshape", reshape, -1, 1, {{3, {2, 3, 5}}}},
    {"expand_dims", expand, -1, 1, {{1, {3}}, {1, {5}}}},
    {"squeeze", squeeze, -1, 1, {{3, {2, 3, 5}}}},
    {"transpose", transpose, -1, 1, {{2, {3, 5}}}},
    {"transpose, first and last", transpose_far, -1, 1, {{3, {2, 3, 5}}}},
    {"slice", slice, -1, 1, {{3, {5, 2, 7}}}},
    {"slices that overlap", slice_overlapping, -1, 1, {{2, {3, 5}}}},
    {"select", select_axis, -1, 1, {{3, {2, 3, 2}}}},
    {"take", take, -1, 1, {{3, {2, 3, 2}}}},
    {"a tensor times itself", twice, -1, 1, {{2, {3, 5}}}},
    {"a tensor and views of it", with_own_view, -1, 1, {{2, {4, 1}}}},
    {"diamond", diamond, 0.5, 1.5, {{2, {3, 2}}, {1, {2}}}},
    {"cross entropy", cross_entropy, -2, 2, {{2, {3, 4}}}},
    {"normalisation", normalise, 0.5, 1, {{2, {5, 3}}, {0, {0}}}},
};
/* clang-format on */

typedef struct evaluation {
    ls_graph *graph;
    ls_tensor *leaf[LEAVES], *loss;
} evaluation;

static int leaf_count(const gradient_case *c) {
    return c->leaf[1].dims > 0 || c->build == build_multiply || c->build == normalise ? 2 : 1;
}

/* The loss is the sum of the result with random weights, so that no gradient is 1 everywhere. */
static evaluation evaluate(const gradient_case *c, double values[LEAVES][MOST_ELEMENTS]) {
    evaluation e;
    assert_int_equal(ls_eager_create(LS_FP64, &e.graph), LS_OK);
    for (int k = 0; k < LEAVES; k++)
        e.leaf[k] = ls_tensor_create(e.graph, c->leaf[k].dims, c->leaf[k].shape, values[k], true);
    ls_tensor *y = c->build(e.leaf);
    if (!y) fail_msg("%s: %s", c->name, ls_error_message());
    ls_tensor *weights = ls_tensor_uniform(e.graph, y->dims, y->shape, 0.5, 2, 99, false);
    e.loss = ls_tensor_sum(ls_tensor_multiply(y, weights), 0, NULL, false);
    assert_non_null(e.loss);
    return e;
}

static double loss_of(const gradient_case *c, double values[LEAVES][MOST_ELEMENTS]) {
    evaluation e = evaluate(c, values);
    double loss = ls_tensor_item(e.loss);
    ls_graph_destroy(&e.graph);
    return loss;
}

static double difference(const gradient_case *c, double values[LEAVES][MOST_ELEMENTS], double *x) {
    static const double at[] = {1, -1, 2, -2}, factor[] = {8, -8, -1, 1}, step = 3e-4;
    const double x0 = *x;
    double derivative = 0;
    for (int i = 0; i < 4; i++) {
        *x = x0 + at[i] * step;
        derivative += factor[i] * loss_of(c, values) / (12 * step);
    }
    *x = x0;
    return derivative;
}

static double check(const gradient_case *c) {
    static double values[LEAVES][MOST_ELEMENTS], numeric[LEAVES][MOST_ELEMENTS];
    double largest = 0, worst = 0;
    ls_graph *numbers;
    assert_int_equal(ls_eager_create(LS_FP64, &numbers), LS_OK);
    for (int k = 0; k < LEAVES; k++) {
        ls_tensor *drawn =
            ls_tensor_uniform(numbers, LS_SHAPE(MOST_ELEMENTS), c->low, c->high, (uint64_t)k + 1, false);
        memcpy(values[k], ls_tensor_data(drawn), sizeof values[k]);
    }
    ls_graph_destroy(&numbers);
    evaluation e = evaluate(c, values);
    assert_int_equal(ls_backward(e.loss), LS_OK);
    for (int k = 0; k < leaf_count(c); k++)
        for (int64_t i = 0; i < ls_tensor_elements(e.leaf[k]); i++) {
            assert_true(i < MOST_ELEMENTS);
            numeric[k][i] = difference(c, values, &values[k][i]);
            largest = fmax(largest, fabs(numeric[k][i]));
        }
    for (int k = 0; k < leaf_count(c); k++)
        for (int64_t i = 0; i < ls_tensor_elements(e.leaf[k]); i++) {
            double a = ls_tensor_grad_at(e.leaf[k], i), n = numeric[k][i];
            double error = fabs(a - n) / fmax(fmax(fabs(a), fabs(n)), 1e-3 * largest);
            if (!(error < 1e-6))
                fail_msg("%s: leaf %d[%d]: %.12g, by differences %.12g", c->name, k, (int)i, a, n);
            worst = fmax(worst, error);
        }
    ls_graph_destroy(&e.graph);
    return worst;
}

static void test_gradients(void **state) {
    double worst = 0;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double error = check(&cases[i]);
        print_message("%-28s %8.1e\n", cases[i].name, error);
        worst = fmax(worst, error);
    }
    print_message("%zu cases, worst error %.1e\n", sizeof cases / sizeof *cases, worst);
}

/* fp32 gradients are those of fp64, rounded, where the inputs are the same. */
static void test_fp32(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const gradient_case *c = &cases[i];
        double want[LEAVES][MOST_ELEMENTS] = {{0}};
        for (int way = 0; way < 2; way++) {
            ls_graph *g;
            ls_tensor *x[LEAVES];
            assert_int_equal(ls_eager_create(way == 0 ? LS_FP64 : LS_FP32, &g), LS_OK);
            for (int k = 0; k < LEAVES; k++)
                x[k] = ls_tensor_uniform(g, c->leaf[k].dims, c->leaf[k].shape, c->low, c->high,
                                         (uint64_t)k + 1, true);
            ls_tensor *y = c->build(x);
            assert_int_equal(ls_backward(ls_tensor_sum(y, 0, NULL, false)), LS_OK);
            for (int k = 0; k < leaf_count(c); k++)
                for (int64_t j = 0; j < ls_tensor_elements(x[k]); j++) {
                    double got = ls_tensor_grad_at(x[k], j);
                    if (way == 0) want[k][j] = got;
                    if (!(fabs(got - want[k][j]) <= 1e-4 * fmax(1, fabs(want[k][j]))))
                        fail_msg("%s: leaf %d[%d]: %g in fp32, %g in fp64", c->name, k, (int)j, got,
                                 want[k][j]);
                }
            ls_graph_destroy(&g);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients), cmocka_unit_test(test_fp32)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
