/* Every allocation of a program with tensors fails once: the graph says so, and nothing is lost (the address
 * sanitizer sees). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

static int allocations_left = -1; /* below 0: all succeed */

static bool fails_now(void) {
    if (allocations_left < 0) return false;
    return allocations_left-- == 0;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_calloc(size_t count, size_t size) {
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

/* One of each kind of operation, forward and backward, with a tape that grows and is cleared. */
static ls_status run(double *result) {
    enum { MORE_OPS = 60 };
    static const int64_t index[] = {1, 1, 0};
    ls_graph *g;
    LS_TRY(ls_eager_create(LS_FP32, &g));
    ls_tensor *x = ls_tensor_uniform(g, LS_SHAPE(2, 3), 1, 2, 1, true),
              *y = ls_tensor_full(g, LS_SHAPE(3), 2, true);
    const int leaves = ls_graph_op_count(g);
    ls_status status = LS_OK;
    for (int step = 0; step < 2 && status == LS_OK; step++) {
        ls_tensor *t = ls_tensor_matmul(ls_tensor_multiply(x, y), ls_tensor_transpose(x, 0, 1));
        t = ls_tensor_take(ls_tensor_exp(ls_tensor_expand_dims(t, 0)), 1, 3, index);
        t = ls_tensor_subtract(ls_tensor_select(t, -1, 0), ls_tensor_detach(y));
        for (int i = 0; i < MORE_OPS; i++) t = ls_tensor_negate(t);
        t = ls_tensor_mean(t, 0, NULL, false);
        status = ls_backward(t);
        *result = ls_tensor_item(t) + ls_tensor_grad_at(x, 0);
        if (ls_graph_status(g) != status && status == LS_OK) status = LS_DIFFERENT;
        if (!t) status = ls_graph_status(g);
        ls_graph_clear(g, leaves);
    }
    ls_graph_destroy(&g);
    return status;
}

static void test_every_allocation(void **state) {
    double want, got;
    int failures = 0;
    (void)state;
    assert_int_equal(run(&want), LS_OK);
    for (;; failures++) {
        allocations_left = failures;
        ls_status status = run(&got);
        const bool failed = allocations_left < 0;
        allocations_left = -1;
        if (!failed) break;
        if (status != LS_INTERNAL) fail_msg("allocation %d fails: status %d", failures, (int)status);
    }
    assert_true(got == want);
    assert_true(failures > 300);
    print_message("%d allocations\n", failures);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
