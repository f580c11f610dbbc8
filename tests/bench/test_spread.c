/* Medians and quartiles against values worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/spread.h"

static void is(ls_spread s, double min, double q1, double median, double q3, double max) {
    assert_true(s.min == min && s.q1 == q1 && s.median == median && s.q3 == q3 && s.max == max);
}

static void quartiles(void **state) {
    (void)state;
    is(ls_spread_of((double[]){3}, 1), 3, 3, 3, 3, 3);
    is(ls_spread_of((double[]){4, 2}, 2), 2, 2.5, 3, 3.5, 4);
    is(ls_spread_of((double[]){5, 1, 3, 2, 4}, 5), 1, 2, 3, 4, 5);
    is(ls_spread_of((double[]){10, -2, 6, 2}, 4), -2, 1, 4, 7, 10);
    is(ls_spread_scaled(ls_spread_of((double[]){5, 1, 3, 2, 4}, 5), 2), 2, 4, 6, 8, 10);
}

static void nothing(void **state) {
    (void)state;
    const ls_spread s = ls_spread_of(NULL, 0);
    assert_true(isnan(s.min) && isnan(s.median) && isnan(s.max));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(quartiles), cmocka_unit_test(nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
