/* Distances in units in the last place, against nextafter; summaries; the JSON writer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/json.h"
#include "inspect/summary.h"
#include "inspect/ulp.h"

static void a_step_of_nextafter_is_one_ulp(void **state) {
    (void)state;
    static const double starts[] = {
        1, -1, 0.1, 0x1p-1074, -0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp+1023, 1e-300, 3e300};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (int up = 0; up < 2; up++) {
            double x = starts[i];
            for (uint64_t k = 1; k <= 40 && isfinite(x); k++) {
                x = nextafter(x, up ? (double)INFINITY : -(double)INFINITY);
                ls_distance d = ls_distance_f64(starts[i], x), back = ls_distance_f64(x, starts[i]);
                assert_true(!d.equal && d.comparable && d.ulp == k && back.ulp == k);
                assert_true(d.absolute == fabs(x - starts[i]));
            }
        }
}

static void a_step_of_nextafterf_is_one_ulp(void **state) {
    (void)state;
    static const float starts[] = {1, -1, 0.1f, 0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1.fffffep+127f};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (int up = 0; up < 2; up++) {
            float x = starts[i];
            for (uint64_t k = 1; k <= 40 && isfinite(x); k++) {
                x = nextafterf(x, up ? INFINITY : -INFINITY);
                ls_distance d = ls_distance_f32(starts[i], x);
                assert_true(!d.equal && d.comparable && d.ulp == k);
            }
        }
}

static void zeros_infinities_and_nans(void **state) {
    (void)state;
    uint64_t bits = 0x7ff8000000000001u;
    double other;
    memcpy(&other, &bits, sizeof other);
    assert_true(ls_distance_f64((double)NAN, (double)NAN).equal && ls_distance_f32(NAN, NAN).equal);
    assert_true(!ls_distance_f64((double)NAN, other).equal &&
                !ls_distance_f64((double)NAN, other).comparable);
    assert_true(!ls_distance_f64((double)NAN, 1).comparable && !ls_distance_f32(1, NAN).comparable);
    ls_distance zeros = ls_distance_f32(-0.0f, 0.0f);
    assert_true(!zeros.equal && zeros.comparable && zeros.ulp == 0 && zeros.absolute == 0);
    assert_true(ls_distance_f32(-INFINITY, INFINITY).ulp == 2u * 0x7f800000u);
    assert_true(ls_distance_f64(-(double)INFINITY, (double)INFINITY).ulp == 2u * 0x7ff0000000000000u);
    assert_true(isinf(ls_distance_f64((double)INFINITY, 1).absolute));
}

static void integers_differ_by_their_difference(void **state) {
    (void)state;
    int64_t low = INT64_MIN, high = INT64_MAX;
    uint64_t zero = 0, most = UINT64_MAX;
    ls_record a = {"n", LS_RECORD_I64, 0, {0}, &low}, b = {"n", LS_RECORD_I64, 0, {0}, &high};
    ls_record c = {"n", LS_RECORD_U64, 0, {0}, &zero}, d = {"n", LS_RECORD_U64, 0, {0}, &most};
    assert_true(ls_distance_at(&a, &b, 0).ulp == UINT64_MAX && ls_distance_at(&c, &d, 0).ulp == UINT64_MAX);
    assert_true(ls_distance_at(&a, &a, 0).equal);
}

static void summaries_leave_out_what_is_not_finite(void **state) {
    (void)state;
    float values[6] = {1, NAN, -0.0f, INFINITY, 4, 1};
    ls_record record = {"x", LS_RECORD_F32, 2, {2, 3}, values};
    ls_summary s = ls_summarise(&record);
    assert_true(s.count == 6 && s.not_finite == 2 && s.min == 0 && s.max == 4);
    assert_true(s.mean == 1.5 && s.std == sqrt((0.25 + 2.25 + 6.25 + 0.25) / 4) && s.zeros == 1.0 / 6);
    record = (ls_record){"x", LS_RECORD_F32, 1, {1}, &values[1]};
    s = ls_summarise(&record);
    assert_true(isnan(s.min) && isnan(s.mean) && isnan(s.std) && s.not_finite == 1);
    record = (ls_record){"x", LS_RECORD_F32, 1, {0}, NULL};
    assert_true(ls_summarise(&record).count == 0 && isnan(ls_summarise(&record).max));
}

static void json_escapes_and_nests(void **state) {
    (void)state;
    char text[512] = {0};
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    ls_json json = {.out = out};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "a\"\\\n\x01", "\xce\xb7 \t");
    ls_json_text(&json, "control", "\x7f\x1b[2J");
    ls_json_text(&json, "broken", "\xff\xce");
    ls_json_real(&json, "nan", (double)NAN);
    ls_json_real(&json, "tenth", 0.1);
    ls_json_begin(&json, "empty", '[');
    ls_json_end(&json, ']');
    ls_json_begin(&json, "list", '[');
    ls_json_count(&json, NULL, UINT64_MAX);
    ls_json_bool(&json, NULL, false);
    ls_json_end(&json, ']');
    ls_json_hash(&json, "hash", 26);
    ls_json_text(&json, "none", NULL);
    ls_json_end(&json, '}');
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "{\n  \"a\\\"\\\\\\n\\u0001\": \"\xce\xb7 \\u0009\",\n  \"control\": "
                              "\"\\u007f\\u001b[2J\",\n  \"broken\": \"\\ufffd\\ufffd\",\n"
                              "  \"nan\": null,\n  \"tenth\": 0.10000000000000001,\n  \"empty\": [],\n"
                              "  \"list\": [\n    18446744073709551615,\n    false\n  ],\n"
                              "  \"hash\": \"000000000000001a\",\n  \"none\": null\n}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_nextafter_is_one_ulp),
        cmocka_unit_test(a_step_of_nextafterf_is_one_ulp),
        cmocka_unit_test(zeros_infinities_and_nans),
        cmocka_unit_test(integers_differ_by_their_difference),
        cmocka_unit_test(summaries_leave_out_what_is_not_finite),
        cmocka_unit_test(json_escapes_and_nests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
