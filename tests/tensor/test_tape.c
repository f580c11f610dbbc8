/* Where gradients come from and how long they stay: tensors used twice, backward called twice, detached
 * tensors, long tapes, tapes that are cleared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

static ls_graph *graph(ls_dtype dtype) {
    ls_graph *g;
    assert_int_equal(ls_eager_create(dtype, &g), LS_OK);
    return g;
}

static ls_tensor *scalar(ls_graph *g, double value, bool requires_grad) {
    return ls_tensor_full(g, 0, NULL, value, requires_grad);
}

#define EXPECT_GRAD(tensor, value) assert_true(ls_tensor_grad_at(tensor, 0) == (value))

static void test_used_twice(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 3, true), *y = ls_tensor_add(ls_tensor_multiply(x, x), x);
    (void)state;
    assert_int_equal(ls_backward(y), LS_OK);
    EXPECT_GRAD(x, 7);
    EXPECT_GRAD(y, 1);
    ls_graph_destroy(&g);
}

/* 64 levels of y = y + y: one visit each, 2^64 paths. */
static void test_diamonds(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 1, true), *y = x;
    (void)state;
    for (int i = 0; i < 64; i++) y = ls_tensor_add(y, y);
    assert_int_equal(ls_backward(y), LS_OK);
    EXPECT_GRAD(x, 0x1p64);
    ls_graph_destroy(&g);
}

/* Leaves add up over calls, the others do not. */
static void test_backward_twice(void **state) {
    ls_graph *g = graph(LS_FP32);
    ls_tensor *x = scalar(g, 3, true), *y = ls_tensor_square(x), *z = ls_tensor_add(y, y),
              *other = ls_tensor_exp(x);
    (void)state;
    assert_null(ls_tensor_grad(x));
    assert_int_equal(ls_backward(z), LS_OK);
    EXPECT_GRAD(x, 12);
    EXPECT_GRAD(y, 2);
    assert_null(ls_tensor_grad(other)); /* z does not depend on it */
    assert_int_equal(ls_backward(z), LS_OK);
    EXPECT_GRAD(x, 24);
    EXPECT_GRAD(y, 2);
    assert_int_equal(ls_backward(y), LS_OK);
    EXPECT_GRAD(x, 30);
    EXPECT_GRAD(y, 1);
    assert_null(ls_tensor_grad(z)); /* not part of this pass */
    ls_tensor_zero_grad(x);
    EXPECT_GRAD(x, 0);
    assert_int_equal(ls_backward(y), LS_OK);
    EXPECT_GRAD(x, 6);
    assert_int_equal(ls_backward(x), LS_OK);
    EXPECT_GRAD(x, 7);
    ls_graph_destroy(&g);
}

/* From a view, and through views: they share the memory of their gradients. */
static void test_views(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = ls_tensor_full(g, LS_SHAPE(2, 3), 2, true);
    ls_tensor *flat = ls_tensor_reshape(x, LS_SHAPE(6)), *again = ls_tensor_reshape(flat, LS_SHAPE(3, 2));
    (void)state;
    assert_ptr_equal(ls_tensor_data(again), ls_tensor_data(x));
    assert_int_equal(ls_backward(again), LS_OK);
    for (int i = 0; i < 6; i++) assert_true(ls_tensor_grad_at(x, i) == 1);
    ls_tensor *y = ls_tensor_square(ls_tensor_select(flat, 0, 4));
    assert_int_equal(ls_backward(y), LS_OK);
    for (int i = 0; i < 6; i++) assert_true(ls_tensor_grad_at(flat, i) == (i == 4 ? 5 : 1));
    ls_tensor *s = ls_tensor_square(x), *v = ls_tensor_reshape(s, LS_SHAPE(6));
    assert_int_equal(ls_backward(v), LS_OK);
    assert_int_equal(ls_backward(ls_tensor_add(v, ls_tensor_reshape(s, LS_SHAPE(6)))), LS_OK);
    assert_true(ls_tensor_grad_at(s, 0) == 2 && ls_tensor_grad_at(v, 5) == 2);
    ls_graph_destroy(&g);
}

static void test_detach(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 3, true), *y = ls_tensor_square(x), *d = ls_tensor_detach(y);
    (void)state;
    assert_false(d->requires_grad);
    assert_true(ls_tensor_item(d) == 9);
    ls_tensor *z = ls_tensor_multiply(ls_tensor_multiply(x, d), ls_tensor_reshape(d, LS_SHAPE(1)));
    assert_int_equal(ls_backward(z), LS_OK);
    EXPECT_GRAD(x, 81);
    assert_null(ls_tensor_grad(d));
    assert_null(ls_tensor_grad(y));
    ls_tensor_zero_grad(x);
    assert_int_equal(ls_backward(ls_tensor_multiply(y, d)), LS_OK); /* one side of a product with itself */
    EXPECT_GRAD(x, 54);
    ls_graph_destroy(&g);
}

static void test_no_gradient_wanted(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 3, false), *w = scalar(g, 2, true), *y = ls_tensor_multiply(x, w);
    (void)state;
    assert_int_equal(ls_backward(y), LS_OK);
    assert_null(ls_tensor_grad(x));
    EXPECT_GRAD(w, 3);
    assert_true(ls_tensor_grad_at(x, 0) == 0);
    assert_int_equal(ls_backward(ls_tensor_square(x)), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "requires a gradient"));
    ls_graph_destroy(&g);
}

/* The tape has no limit, and walking it back needs no stack. */
static void test_long_chain(void **state) {
    enum { OPS = 10000 };
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 1, true), *one = scalar(g, 1, false), *y = x;
    (void)state;
    for (int i = 0; i < OPS; i++) y = i % 2 ? ls_tensor_negate(y) : ls_tensor_add(y, one);
    assert_int_equal(ls_graph_op_count(g), OPS + 2);
    assert_int_equal(ls_backward(y), LS_OK);
    EXPECT_GRAD(x, 1);
    ls_graph_destroy(&g);
}

/* A step's tape goes, the leaves stay with what was done to them. */
static void test_clear(void **state) {
    ls_graph *g = graph(LS_FP64);
    ls_tensor *x = scalar(g, 1, true), *copy = ls_tensor_reshape(x, LS_SHAPE(1, 1));
    const int leaves = ls_graph_op_count(g);
    (void)state;
    for (int step = 0; step < 100; step++) {
        ls_tensor *y = ls_tensor_square(ls_tensor_subtract(copy, scalar(g, 5, false)));
        assert_int_equal(ls_backward(y), LS_OK);
        double *value = ls_tensor_data(x);
        value[0] -= 0.25 * ls_tensor_grad_at(x, 0);
        ls_tensor_zero_grad(x);
        ls_graph_clear(g, leaves);
        assert_int_equal(ls_graph_op_count(g), leaves);
        assert_int_equal(x->consumers, 1);
        assert_int_equal(copy->consumers, 0);
    }
    assert_true(ls_tensor_item(x) == 5);
    assert_true(ls_tensor_item(copy) == 5);
    EXPECT_GRAD(x, 0);
    ls_graph_clear(g, 0);
    assert_int_equal(ls_graph_op_count(g), 0);
    assert_true(ls_tensor_item(scalar(g, 7, false)) == 7);
    ls_graph_clear(g, 50); /* nothing there */
    assert_int_equal(ls_graph_op_count(g), 1);
    ls_graph_destroy(&g);
    ls_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_twice),     cmocka_unit_test(test_diamonds),
        cmocka_unit_test(test_backward_twice), cmocka_unit_test(test_views),
        cmocka_unit_test(test_detach),         cmocka_unit_test(test_no_gradient_wanted),
        cmocka_unit_test(test_long_chain),     cmocka_unit_test(test_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
