/* Values of the tensor operations against loops over indices, to the bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/elementary.h"
#include "core/rng.h"
#include "tensor/tensor.h"

static ls_graph *graph(ls_dtype dtype) {
    ls_graph *g;
    assert_int_equal(ls_eager_create(dtype, &g), LS_OK);
    return g;
}

static ls_tensor *drawn(ls_graph *g, int dims, const int64_t *shape, uint64_t seed) {
    ls_tensor *t = ls_tensor_uniform(g, dims, shape, -1, 1, seed, false);
    assert_non_null(t);
    return t;
}

static void expect_shape(const ls_tensor *t, int dims, const int64_t *shape) {
    assert_non_null(t);
    assert_int_equal(t->dims, dims);
    for (int i = 0; i < dims; i++) assert_int_equal(t->shape[i], shape[i]);
}

/* Coordinates of element i. */
static void coordinates(const ls_tensor *t, int64_t i, int64_t *at) {
    for (int d = t->dims - 1; d >= 0; d--) {
        at[d] = i % t->shape[d];
        i /= t->shape[d];
    }
}

/* The element of t at the coordinates `at` of a result with `dims` axes, broadcast. */
static double broadcast_at(const ls_tensor *t, int dims, const int64_t *at) {
    int64_t i = 0;
    for (int d = 0; d < t->dims; d++) {
        int64_t c = at[d + dims - t->dims];
        i = i * t->shape[d] + (t->shape[d] == 1 ? 0 : c);
    }
    return ls_tensor_at(t, i);
}

/* What the graph's type makes of a number. */
static double rounded(ls_dtype dtype, double x) {
    return dtype == LS_FP64 ? x : (double)(float)x;
}

static void check_broadcast(ls_dtype dtype, const ls_tensor *shape_a, const ls_tensor *shape_b, int dims,
                            const int64_t *shape) {
    ls_graph *g = graph(dtype);
    ls_tensor *a = drawn(g, shape_a->dims, shape_a->shape, 1),
              *b = drawn(g, shape_b->dims, shape_b->shape, 2);
    ls_tensor *sum = ls_tensor_add(a, b), *difference = ls_tensor_subtract(a, b),
              *product = ls_tensor_multiply(a, b);
    expect_shape(sum, dims, shape);
    expect_shape(difference, dims, shape);
    expect_shape(product, dims, shape);
    for (int64_t i = 0; i < ls_tensor_elements(sum); i++) {
        int64_t at[LS_MAX_DIMS];
        coordinates(sum, i, at);
        double p = broadcast_at(a, dims, at), q = broadcast_at(b, dims, at);
        assert_true(ls_tensor_at(sum, i) == rounded(dtype, p + q));
        assert_true(ls_tensor_at(difference, i) == rounded(dtype, p - q));
        assert_true(ls_tensor_at(product, i) == rounded(dtype, p * q));
    }
    ls_graph_destroy(&g);
}

static void test_broadcast(void **state) {
    static const struct {
        int a_dims;
        int64_t a[LS_MAX_DIMS];
        int b_dims;
        int64_t b[LS_MAX_DIMS];
        int dims;
        int64_t shape[LS_MAX_DIMS];
    } cases[] = {
        {2, {3, 5}, 2, {3, 5}, 2, {3, 5}},
        {2, {3, 5}, 1, {5}, 2, {3, 5}},
        {2, {3, 5}, 0, {0}, 2, {3, 5}},
        {0, {0}, 0, {0}, 0, {0}},
        {0, {0}, 3, {2, 1, 3}, 3, {2, 1, 3}},
        {2, {3, 1}, 2, {1, 5}, 2, {3, 5}},
        {3, {2, 1, 37}, 2, {5, 1}, 3, {2, 5, 37}},
        {4, {1, 3, 1, 2}, 4, {4, 1, 5, 1}, 4, {4, 3, 5, 2}},
        {1, {1}, 1, {1}, 1, {1}},
        {8, {2, 1, 2, 1, 2, 1, 2, 1}, 8, {1, 2, 1, 2, 1, 2, 1, 2}, 8, {2, 2, 2, 2, 2, 2, 2, 2}},
        {8, {1, 1, 3, 1, 1, 2, 1, 1}, 2, {2, 5}, 8, {1, 1, 3, 1, 1, 2, 2, 5}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int wide = 0; wide < 2; wide++) {
            ls_tensor a = {.dims = cases[i].a_dims}, b = {.dims = cases[i].b_dims};
            memcpy(a.shape, cases[i].a, sizeof a.shape);
            memcpy(b.shape, cases[i].b, sizeof b.shape);
            check_broadcast(wide ? LS_FP64 : LS_FP32, &a, &b, cases[i].dims, cases[i].shape);
            check_broadcast(wide ? LS_FP64 : LS_FP32, &b, &a, cases[i].dims, cases[i].shape);
        }
}

static void check_matmul(ls_dtype dtype, int64_t m, int64_t k, int64_t n) {
    ls_graph *g = graph(dtype);
    ls_tensor *a = drawn(g, LS_SHAPE(2, 1, m, k), 1), *b = drawn(g, LS_SHAPE(3, k, n), 2),
              *c = ls_tensor_matmul(a, b);
    expect_shape(c, LS_SHAPE(2, 3, m, n));
    for (int64_t p = 0; p < 2; p++)
        for (int64_t q = 0; q < 3; q++)
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    double sum = 0;
                    for (int64_t l = 0; l < k; l++)
                        sum += ls_tensor_at(a, (p * m + i) * k + l) * ls_tensor_at(b, (q * k + l) * n + j);
                    assert_true(ls_tensor_at(c, ((p * 3 + q) * m + i) * n + j) == rounded(dtype, sum));
                }
    ls_graph_destroy(&g);
}

static void test_matmul(void **state) {
    static const int64_t sizes[][3] = {{1, 1, 1},   {2, 3, 4},  {5, 1, 3}, {1, 7, 1},
                                       {3, 16, 16}, {4, 5, 33}, {17, 2, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_matmul(LS_FP32, sizes[i][0], sizes[i][1], sizes[i][2]);
        check_matmul(LS_FP64, sizes[i][0], sizes[i][1], sizes[i][2]);
    }
}

static void test_functions(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        ls_dtype dtype = wide ? LS_FP64 : LS_FP32;
        ls_graph *g = graph(dtype);
        ls_tensor *x = ls_tensor_uniform(g, LS_SHAPE(101), 0.1, 9, 5, false);
        ls_tensor *e = ls_tensor_exp(x), *l = ls_tensor_log(x), *s = ls_tensor_square(x),
                  *r = ls_tensor_sqrt(x);
        ls_tensor *inverse = ls_tensor_inverse(x), *negative = ls_tensor_negate(x);
        for (int64_t i = 0; i < 101; i++) {
            double v = ls_tensor_at(x, i);
            assert_true(ls_tensor_at(e, i) == (wide ? ls_exp(v) : (double)ls_expf((float)v)));
            assert_true(ls_tensor_at(l, i) == (wide ? ls_log_e(v) : (double)ls_logf((float)v)));
            assert_true(ls_tensor_at(s, i) == rounded(dtype, v * v));
            assert_true(ls_tensor_at(r, i) == rounded(dtype, sqrt(v)));
            assert_true(ls_tensor_at(inverse, i) == rounded(dtype, 1 / v));
            assert_true(ls_tensor_at(negative, i) == -v);
        }
        ls_graph_destroy(&g);
    }
}

/* Sums over every set of axes of a 2x3x5x2 tensor. */
static void check_sums(ls_dtype dtype, bool keep) {
    ls_graph *g = graph(dtype);
    ls_tensor *x = drawn(g, LS_SHAPE(2, 3, 5, 2), 7);
    for (unsigned set = 1; set < 16; set++) {
        int axes[4], count = 0, dims = 0;
        int64_t shape[4] = {0}, terms = 1;
        for (int d = 0; d < 4; d++) {
            bool summed = set >> d & 1;
            if (summed) axes[count++] = d % 2 ? d - 4 : d;
            if (summed) terms *= x->shape[d];
            if (!summed || keep) shape[dims++] = summed ? 1 : x->shape[d];
        }
        ls_tensor *sum = ls_tensor_sum(x, count, axes, keep), *mean = ls_tensor_mean(x, count, axes, keep);
        double want[60] = {0};
        expect_shape(sum, dims, shape);
        expect_shape(mean, dims, shape);
        for (int64_t i = 0; i < 60; i++) {
            int64_t at[4], to = 0;
            coordinates(x, i, at);
            for (int d = 0; d < 4; d++)
                if (!(set >> d & 1)) to = to * x->shape[d] + at[d];
            want[to] += ls_tensor_at(x, i);
        }
        for (int64_t i = 0; i < ls_tensor_elements(sum); i++) {
            assert_true(ls_tensor_at(sum, i) == rounded(dtype, want[i]));
            assert_true(ls_tensor_at(mean, i) == rounded(dtype, want[i] / (double)terms));
        }
    }
    assert_true(ls_tensor_item(ls_tensor_sum(x, 0, NULL, false)) ==
                ls_tensor_item(ls_tensor_sum(x, 4, (const int[]){3, 2, 1, 0}, true)));
    ls_graph_destroy(&g);
}

static void test_sums(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++)
        for (int keep = 0; keep < 2; keep++) check_sums(wide ? LS_FP64 : LS_FP32, keep);
}

static void check_slice(ls_tensor *x, ls_slice s0, ls_slice s1) {
    ls_tensor *y = ls_tensor_slice(x, 2, (const ls_slice[]){s0, s1});
    const ls_slice s[2] = {s0, s1};
    int64_t want[2][8], count[2] = {0, 0}, n = 0;
    for (int d = 0; d < 2; d++) {
        int64_t size = x->shape[d], start = s[d].start < 0 ? s[d].start + size : s[d].start;
        int64_t stop = s[d].stop == LS_END ? size : s[d].stop < 0 ? s[d].stop + size : s[d].stop;
        for (int64_t i = start; i < stop && i < size; i += s[d].step) want[d][count[d]++] = i;
    }
    expect_shape(y, LS_SHAPE(count[0], count[1], 3));
    for (int64_t i = 0; i < count[0]; i++)
        for (int64_t j = 0; j < count[1]; j++)
            for (int64_t k = 0; k < 3; k++)
                assert_true(ls_tensor_at(y, n++) == ls_tensor_at(x, (want[0][i] * 7 + want[1][j]) * 3 + k));
}

static void test_slices(void **state) {
    ls_graph *g = graph(LS_FP32);
    ls_tensor *x = drawn(g, LS_SHAPE(5, 7, 3), 3);
    (void)state;
    for (int64_t start = -5; start < 5; start++)
        for (int64_t stop = -4; stop <= 5; stop++)
            for (int64_t step = 1; step < 7; step++)
                if ((start < 0 ? start + 5 : start) < (stop < 0 ? stop + 5 : stop))
                    check_slice(x, (ls_slice){start, stop, step}, (ls_slice){1, LS_END, step});
    check_slice(x, (ls_slice){4, LS_END, 1}, LS_ALL);
    ls_tensor *far = ls_tensor_slice(x, 1, (const ls_slice[]){{1, LS_END, INT64_MAX}});
    expect_shape(far, LS_SHAPE(1, 7, 3));
    assert_true(ls_tensor_at(far, 2) == ls_tensor_at(x, 23));
    ls_graph_destroy(&g);
}

static void test_positions(void **state) {
    static const int64_t index[] = {2, 0, -1, 2};
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = drawn(g, LS_SHAPE(2, 3, 5), 3), *row = ls_tensor_select(x, 1, -1),
              *t = ls_tensor_transpose(x, -1, 0);
    (void)state;
    expect_shape(row, LS_SHAPE(2, 5));
    expect_shape(t, LS_SHAPE(5, 3, 2));
    for (int64_t i = 0; i < 2; i++)
        for (int64_t j = 0; j < 3; j++)
            for (int64_t k = 0; k < 5; k++) {
                double v = ls_tensor_at(x, (i * 3 + j) * 5 + k);
                if (j == 2) assert_true(ls_tensor_at(row, i * 5 + k) == v);
                assert_true(ls_tensor_at(t, (k * 3 + j) * 2 + i) == v);
            }
    for (int axis = 0; axis < 3; axis++) {
        ls_tensor *y =
            ls_tensor_take(x, axis - 3, axis == 0 ? 2 : 4, axis == 0 ? (const int64_t[]){1, -1} : index);
        for (int64_t i = 0; i < ls_tensor_elements(y); i++) {
            int64_t at[3];
            coordinates(y, i, at);
            at[axis] = axis == 0 ? 1 : (index[at[axis]] + x->shape[axis]) % x->shape[axis];
            assert_true(ls_tensor_at(y, i) == ls_tensor_at(x, (at[0] * 3 + at[1]) * 5 + at[2]));
        }
    }
    ls_graph_destroy(&g);
}

static void test_shapes(void **state) {
    ls_graph *g = graph(LS_FP32);
    ls_tensor *x = drawn(g, LS_SHAPE(2, 6), 3), *s = ls_tensor_full(g, 0, NULL, 5, false);
    (void)state;
    expect_shape(ls_tensor_reshape(x, LS_SHAPE(3, -1, 1)), LS_SHAPE(3, 4, 1));
    expect_shape(ls_tensor_expand_dims(x, 0), LS_SHAPE(1, 2, 6));
    expect_shape(ls_tensor_expand_dims(x, -1), LS_SHAPE(2, 6, 1));
    expect_shape(ls_tensor_expand_dims(x, 1), LS_SHAPE(2, 1, 6));
    expect_shape(ls_tensor_squeeze(ls_tensor_expand_dims(x, 1), -2), LS_SHAPE(2, 6));
    expect_shape(ls_tensor_expand_dims(s, 0), LS_SHAPE(1));
    expect_shape(ls_tensor_reshape(ls_tensor_expand_dims(s, 0), 0, NULL), 0, NULL);
    expect_shape(ls_tensor_reshape(s, LS_SHAPE(-1, 1)), LS_SHAPE(1, 1));
    ls_graph_destroy(&g);
}

static void test_leaves(void **state) {
    static const double values[] = {0.1, -0.0, 1e300, 3};
    (void)state;
    ls_graph *g = graph(LS_FP32);
    ls_tensor *x = ls_tensor_create(g, LS_SHAPE(4), values, false);
    assert_true(ls_tensor_at(x, 0) == (double)0.1f);
    assert_true(ls_tensor_at(x, 1) == 0 && signbit(ls_tensor_at(x, 1)));
    assert_true(isinf(ls_tensor_at(x, 2)));
    ls_tensor *u = ls_tensor_uniform(g, LS_SHAPE(1000, 3), 0, 1, 11, true), *v = drawn(g, LS_SHAPE(7), 12);
    ls_rng rng = ls_rng_stream(11, LS_RNG_TENSOR, 0, 0, 0);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t words[4];
        ls_rng_block(&rng, i / 4, words);
        assert_true(ls_tensor_at(u, i) == (double)(float)ls_rng_unit(words[i % 4]));
    }
    assert_true(ls_tensor_at(v, 0) != ls_tensor_at(u, 0));
    assert_true(u->requires_grad && !v->requires_grad);
    ls_tensor *f = ls_tensor_full(g, LS_SHAPE(2, 600), 0.1, false),
              *z = ls_tensor_zeros(g, LS_SHAPE(1), false);
    for (int i = 0; i < 1200; i++) assert_true(ls_tensor_at(f, i) == (double)0.1f);
    assert_true(ls_tensor_item(z) == 0);
    ls_graph_destroy(&g);
}

/* Infinities, NaN and the sign of zero go through as they do through the C operators. */
static void test_not_finite(void **state) {
    const double inf = (double)INFINITY, special[] = {inf, -inf, (double)NAN, -0.0, 0};
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = ls_tensor_create(g, LS_SHAPE(5), special, true),
              *zero = ls_tensor_full(g, 0, NULL, -0.0, false);
    ls_tensor *product = ls_tensor_multiply(x, x), *l = ls_tensor_log(x), *inverse = ls_tensor_inverse(x);
    (void)state;
    assert_true(ls_tensor_at(product, 1) == inf && isnan(ls_tensor_at(product, 2)));
    assert_true(isnan(ls_tensor_at(l, 1)) && ls_tensor_at(l, 4) == -inf);
    assert_true(ls_tensor_at(inverse, 3) == -inf && ls_tensor_at(inverse, 4) == inf);
    assert_true(isnan(ls_tensor_item(ls_tensor_sum(x, 0, NULL, false))));
    assert_true(signbit(ls_tensor_at(ls_tensor_add(x, zero), 3)));
    assert_true(signbit(ls_tensor_at(ls_tensor_transpose(ls_tensor_expand_dims(x, 0), 0, 1), 3)));
    assert_int_equal(ls_backward(ls_tensor_sqrt(x)), LS_OK);
    assert_true(ls_tensor_grad_at(x, 0) == 0 && isnan(ls_tensor_grad_at(x, 1)) &&
                ls_tensor_grad_at(x, 4) == inf);
    assert_int_equal(ls_graph_status(g), LS_OK);
    ls_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broadcast), cmocka_unit_test(test_matmul), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_sums),      cmocka_unit_test(test_slices), cmocka_unit_test(test_positions),
        cmocka_unit_test(test_shapes),    cmocka_unit_test(test_leaves), cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
