/* The gradient check itself: all rows pass, and each layer type has one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/gradcheck.h"

static void test_all_rows(void **state) {
    double worst = 1;
    (void)state;
    ls_status status = ls_gradcheck(stdout, &worst);
    if (status != LS_OK) fail_msg("%s", ls_error_message());
    assert_true(worst < LS_GRADCHECK_BOUND);
    assert_true(worst > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
