/* What kernels share between blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blocks_cuda.h"
#include "orders.h"

/* One block finishes what all have begun, in every order, launch after launch with the same counter. */
static void test_last_block(void **state) {
    static const int counts[] = {1, 2, 3, 31, 32, 33, 127, 1000}, threads[] = {1, 31, 32, 33, 256};
    (void)state;
    for (int order = 0; order < ORDERS; order++) {
        set_order(order);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
                const int n = counts[i];
                double *zeros = calloc((size_t)n + 2, sizeof *zeros), results[2];
                assert_non_null(zeros);
                double *part = to_device(zeros, ((size_t)n + 2) * sizeof *zeros);
                for (int turn = 0; turn < 3; turn++)
                    ls_sum_of_blocks_cuda(emulated_backend()->device, n, threads[k], part, part + n,
                                          part + n + 1);
                read_device(results, part + n, sizeof results);
                assert_true(results[0] == (double)n * (n + 1) / 2);
                assert_true(results[1] == 3);
                free_device(part);
                free(zeros);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_last_block)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
