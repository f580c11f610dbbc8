/* What operations refuse, and in what words; a failed graph stays failed and NULL goes through everything. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "check/probe.h"
#include "graph/plan.h"
#include "tensor/tensor.h"

/* Every expression has x 2x3x4 and v 5 at hand. */
#define REFUSED(expression, ...)                                                                             \
    do {                                                                                                     \
        ls_graph *g;                                                                                         \
        assert_int_equal(ls_eager_create(LS_FP32, &g), LS_OK);                                               \
        ls_tensor *x = ls_tensor_zeros(g, LS_SHAPE(2, 3, 4), true),                                          \
                  *v = ls_tensor_zeros(g, LS_SHAPE(5), true);                                                \
        (void)v;                                                                                             \
        expect_refused(#expression, g, x, (expression), (const char *const[]){__VA_ARGS__, NULL});           \
    } while (0)

static void expect_refused(const char *what, ls_graph *g, ls_tensor *x, ls_tensor *result,
                           const char *const *words) {
    if (result || ls_graph_status(g) != LS_USAGE) fail_msg("%s is not refused", what);
    for (; *words; words++)
        if (!strstr(ls_error_message(), *words))
            fail_msg("%s: \"%s\" has no %s", what, ls_error_message(), *words);
    char message[1024];
    strncpy(message, ls_error_message(), sizeof message - 1);
    message[sizeof message - 1] = '\0';
    assert_null(ls_tensor_add(result, x));
    assert_null(ls_tensor_square(x));
    assert_null(ls_tensor_reshape(x, LS_SHAPE(7)));
    assert_int_equal(ls_backward(result), LS_USAGE);
    assert_int_equal(ls_backward(x), LS_USAGE);
    assert_string_equal(ls_error_message(), message);
    ls_graph_destroy(&g);
}

static void test_shapes(void **state) {
    (void)state;
    REFUSED(ls_tensor_add(x, v), "add", "2x3x4", "5", "axis -1");
    REFUSED(ls_tensor_subtract(v, x), "subtract", "2x3x4");
    REFUSED(ls_tensor_multiply(x, v), "multiply", "2x3x4");
    REFUSED(ls_tensor_matmul(x, v), "matmul", "2x3x4", "5", "m x k");
    REFUSED(ls_tensor_matmul(x, x), "matmul", "2x3x4");
    REFUSED(ls_tensor_matmul(x, ls_tensor_zeros(g, LS_SHAPE(3, 4, 1), false)), "matmul", "3x4x1", "axis -3");
    REFUSED(ls_tensor_reshape(x, LS_SHAPE(5, 5)), "reshape", "2x3x4", "5x5");
    REFUSED(ls_tensor_reshape(x, LS_SHAPE(-1, 6, -1)), "reshape", "2x3x4");
    REFUSED(ls_tensor_reshape(x, LS_SHAPE(5, -1)), "reshape", "5x-1");
    REFUSED(ls_tensor_reshape(x, LS_SHAPE(0, 24)), "reshape", "0x24");
    REFUSED(ls_tensor_reshape(x, LS_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 24)), "reshape", "9 dimensions");
    REFUSED(ls_tensor_zeros(g, LS_SHAPE(3, 0), false), "zeros", "3x0");
    REFUSED(ls_tensor_zeros(g, LS_SHAPE(3, -2), false), "zeros", "3x-2");
    REFUSED(ls_tensor_zeros(g, LS_SHAPE(INT64_MAX, INT64_MAX), false), "zeros", "at most");
    REFUSED(ls_tensor_create(g, 9, NULL, NULL, false), "create", "9 dimensions");
    REFUSED(ls_tensor_uniform(g, LS_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1), 0, 1, 1, false), "uniform",
            "9 dimensions");
}

static void test_too_large(void **state) {
    (void)state;
    REFUSED(ls_tensor_add(ls_tensor_zeros(g, LS_SHAPE(200000, 1), false),
                          ls_tensor_zeros(g, LS_SHAPE(200000), false)),
            "add", "200000x200000", "elements");
    REFUSED(ls_tensor_matmul(ls_tensor_zeros(g, LS_SHAPE(200000, 1), false),
                             ls_tensor_zeros(g, LS_SHAPE(1, 200000), false)),
            "matmul", "200000x200000", "elements");
}

static void test_axes(void **state) {
    (void)state;
    REFUSED(ls_tensor_sum(x, 1, (const int[]){3}, false), "sum", "axis 3", "2x3x4", "-3 to 2");
    REFUSED(ls_tensor_mean(x, 1, (const int[]){-4}, false), "mean", "axis -4");
    REFUSED(ls_tensor_sum(x, 2, (const int[]){1, -2}, false), "sum", "axis -2 twice");
    REFUSED(ls_tensor_transpose(x, 0, 3), "transpose", "axis 3");
    REFUSED(ls_tensor_expand_dims(x, 4), "expand_dims", "axis 4");
    REFUSED(ls_tensor_squeeze(x, 1), "squeeze", "axis 1", "2x3x4");
    REFUSED(ls_tensor_squeeze(x, 3), "squeeze", "axis 3");
    REFUSED(ls_tensor_squeeze(ls_tensor_zeros(g, 0, NULL, false), 0), "squeeze", "scalar");
}

static void test_indices(void **state) {
    (void)state;
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{2, LS_END, 1}}), "slice", "axis 0", "2x3x4");
    REFUSED(ls_tensor_slice(x, 2, (const ls_slice[]){LS_ALL, {0, 4, 1}}), "slice", "0:4:1", "axis 1");
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{0, 1, 0}}), "slice", "step");
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{0, 1, -1}}), "slice", "step");
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{1, 1, 1}}), "slice", "1:1:1");
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{-3, 1, 1}}), "slice", "-3:1:1");
    REFUSED(ls_tensor_slice(x, 1, (const ls_slice[]){{INT64_MIN, INT64_MIN, 1}}), "slice", "axis 0");
    REFUSED(ls_tensor_slice(x, 4, (const ls_slice[]){LS_ALL, LS_ALL, LS_ALL, LS_ALL}), "slice", "4 slices");
    REFUSED(ls_tensor_select(x, 0, 2), "select", "index 2", "-2 to 1");
    REFUSED(ls_tensor_select(x, 0, -3), "select", "index -3");
    REFUSED(ls_tensor_select(x, 0, INT64_MIN), "select");
    REFUSED(ls_tensor_take(x, 1, 2, (const int64_t[]){0, 3}), "take", "index 3", "axis 1");
    REFUSED(ls_tensor_take(x, 1, 1, (const int64_t[]){-4}), "take", "index -4");
    REFUSED(ls_tensor_take(x, 1, 0, NULL), "take", "2x0x4");
}

static void test_looking(void **state) {
    ls_graph *g;
    (void)state;
    assert_int_equal(ls_eager_create(LS_FP64, &g), LS_OK);
    ls_tensor *x = ls_tensor_zeros(g, LS_SHAPE(2, 3), false);
    assert_true(isnan(ls_tensor_item(x)));
    assert_int_equal(ls_graph_status(g), LS_USAGE);
    assert_string_equal(ls_error_message(), "item: of 2x3; expected one element");
    ls_graph_destroy(&g);
    assert_int_equal(ls_eager_create(LS_FP64, &g), LS_OK);
    x = ls_tensor_zeros(g, LS_SHAPE(2, 3), false);
    assert_true(ls_tensor_at(x, 5) == 0);
    assert_true(isnan(ls_tensor_at(x, 6)));
    assert_int_equal(ls_graph_status(g), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "element 6 of 6"));
    ls_graph_destroy(&g);
    assert_true(isnan(ls_tensor_item(NULL)) && isnan(ls_tensor_at(NULL, 0)) &&
                isnan(ls_tensor_grad_at(NULL, 0)));
    assert_null(ls_tensor_data(NULL));
    assert_null(ls_tensor_grad(NULL));
    ls_tensor_zero_grad(NULL);
}

static ls_status two_graphs(void) {
    ls_graph *g, *h;
    assert_int_equal(ls_eager_create(LS_FP64, &g), LS_OK);
    assert_int_equal(ls_eager_create(LS_FP64, &h), LS_OK);
    assert_null(ls_tensor_add(ls_tensor_zeros(g, 0, NULL, true), ls_tensor_zeros(h, 0, NULL, true)));
    ls_status status = ls_graph_status(g);
    ls_graph_destroy(&g);
    ls_graph_destroy(&h);
    return status;
}

/* Batches belong to the layers, and plans to recorded graphs. */
static void test_other_graphs(void **state) {
    static const double values[4] = {1, 2, 3, 4};
    const int64_t shape = 4;
    ls_graph *g;
    ls_plan *plan;
    (void)state;
    assert_int_equal(two_graphs(), LS_USAGE);
    assert_int_equal(ls_eager_create(LS_FP64, &g), LS_OK);
    assert_null(ls_tensor_square(ls_leaf(g, 1, &shape, values, true)));
    assert_non_null(strstr(ls_error_message(), "square: a batch of samples"));
    ls_graph_destroy(&g);
    assert_int_equal(ls_eager_create(LS_FP64, &g), LS_OK);
    ls_tensor_zeros(g, 0, NULL, true);
    assert_int_equal(ls_plan_create(g, true, 1, &plan), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "eager"));
    ls_graph_destroy(&g);

    const ls_backend *backend;
    ls_parameters none = {0};
    ls_shards shards;
    assert_int_equal(ls_backend_find(LS_FP64, &backend), LS_OK);
    assert_int_equal(ls_shards_create(&shards, 1, 0, 1, 1), LS_OK);
    assert_int_equal(
        ls_graph_create(LS_RECORD, LS_TRAINING, backend, &none, &shards, NULL, &ls_reducer_local, &g), LS_OK);
    assert_null(ls_tensor_zeros(g, 0, NULL, true));
    assert_int_equal(ls_graph_status(g), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "recorded"));
    assert_int_equal(ls_plan_create(g, true, 1, &plan), LS_USAGE);
    ls_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),  cmocka_unit_test(test_too_large), cmocka_unit_test(test_axes),
        cmocka_unit_test(test_indices), cmocka_unit_test(test_looking),   cmocka_unit_test(test_other_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
