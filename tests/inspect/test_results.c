/* inspect of files that eval and attack write: forged ones, sealed properly, whose content is wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/checkpoints.h"
#include "io/hdf5.h"
#include "io/scratch.h"

static void must(ls_status status) {
    if (status != LS_OK) fail_msg("%s", ls_error_message());
}

typedef enum trick {
    FINE,
    NO_STEP,
    NO_CONFIG,
    ACCURACY_ABOVE_ONE,
    NO_LOSS,
    MATRIX_NOT_SQUARE,
    MATRIX_TOO_LARGE,
    MATRIX_OF_REALS,
    NEGATIVE_COUNT,
    OTHER_SUM,
    TOO_MANY_WORST,
    WORST_OF_OTHER_LENGTHS,
    UNKNOWN_CLASS,
    EVALUATION_TRICKS,
    TOO_MANY_EPSILONS = EVALUATION_TRICKS,
    NO_EPSILON,
    CURVE_OF_OTHER_LENGTHS,
    PREDICTED_TOO_NARROW,
    EXAMPLE_OF_NO_CLASS,
    TRICKS
} trick;

static const char *const why[TRICKS] = {
    [NO_STEP] = "found no attribute step",
    [NO_CONFIG] = "found nothing at config",
    [ACCURACY_ABOVE_ONE] = "test: attribute accuracy: found another one, expected a number from 0 to 1",
    [NO_LOSS] = "test: attribute loss: found none",
    [MATRIX_NOT_SQUARE] = "test/confusion: found no matrix of at most 256 classes",
    [MATRIX_TOO_LARGE] = "test/confusion: found no matrix of at most 256 classes",
    [MATRIX_OF_REALS] = "test/confusion: found f64 [2, 2], expected i64 [2, 2]",
    [NEGATIVE_COUNT] = "test/confusion: found counts that are not those of 7 samples",
    [OTHER_SUM] = "test/confusion: found 6 samples, expected 7",
    [TOO_MANY_WORST] = "test/worst/sample: found no array of at most 10 numbers",
    [WORST_OF_OTHER_LENGTHS] = "test/worst/predicted: found i64 [1], expected i64 [2]",
    [UNKNOWN_CLASS] = "test/worst: found class 2, expected one of 2",
    [TOO_MANY_EPSILONS] = "curve/epsilon: found no array of 1 to 64 numbers",
    [NO_EPSILON] = "curve/epsilon: found no array of 1 to 64 numbers",
    [CURVE_OF_OTHER_LENGTHS] = "curve/accuracy: found f64 [2], expected f64 [3]",
    [PREDICTED_TOO_NARROW] = "examples/predicted: found i64 [3, 1], expected i64 [3, 2]",
    [EXAMPLE_OF_NO_CLASS] = "examples: found class -1, expected one of 256",
};

static void array(ls_h5_file *file, const char *path, ls_record_type type, int dims, int64_t n, int64_t m,
                  void *data) {
    must(ls_h5_write_record(file, &(ls_record){path, type, dims, {n, m}, data}));
}

static void evaluation(ls_h5_file *file, trick how) {
    static int64_t matrix[300 * 300], numbers[11], classes[11];
    static double reals[11];
    const int64_t k = how == MATRIX_TOO_LARGE ? 300 : 2, worst = how == TOO_MANY_WORST ? 11 : 2;
    memcpy(matrix, (int64_t[]){3, how == NEGATIVE_COUNT ? -1 : 1, how == OTHER_SUM ? 0 : 1, 2},
           4 * sizeof *matrix);
    classes[1] = how == UNKNOWN_CLASS ? 2 : 1;
    must(ls_h5_group(file, "test"));
    must(ls_h5_attribute_u64(file, "test", "samples", 7));
    if (how != NO_LOSS) must(ls_h5_attribute_f64(file, "test", "loss", 0.5));
    must(ls_h5_attribute_f64(file, "test", "accuracy", how == ACCURACY_ABOVE_ONE ? 1.5 : 0.75));
    must(ls_h5_attribute_f64(file, "test", "uncertainty", 0.125));
    array(file, "test/confusion", how == MATRIX_OF_REALS ? LS_RECORD_F64 : LS_RECORD_I64, 2, k,
          how == MATRIX_NOT_SQUARE ? 1 : k, matrix);
    array(file, "test/worst/sample", LS_RECORD_I64, 1, worst, 0, numbers);
    array(file, "test/worst/class", LS_RECORD_I64, 1, worst, 0, classes);
    array(file, "test/worst/predicted", LS_RECORD_I64, 1, how == WORST_OF_OTHER_LENGTHS ? 1 : worst, 0,
          numbers);
    array(file, "test/worst/probability", LS_RECORD_F64, 1, worst, 0, reals);
    array(file, "test/worst/loss", LS_RECORD_F64, 1, worst, 0, reals);
}

static void attack(ls_h5_file *file, trick how) {
    static int64_t numbers[65 * 2], classes[2];
    static double reals[65];
    const int64_t n = how == TOO_MANY_EPSILONS ? 65 : how == NO_EPSILON ? 0 : 3;
    classes[0] = how == EXAMPLE_OF_NO_CLASS ? -1 : 0;
    must(ls_h5_group(file, "curve"));
    must(ls_h5_attribute_u64(file, "curve", "samples", 7));
    array(file, "curve/epsilon", LS_RECORD_F64, 1, n, 0, reals);
    array(file, "curve/loss", LS_RECORD_F64, 1, n, 0, reals);
    array(file, "curve/accuracy", LS_RECORD_F64, 1, how == CURVE_OF_OTHER_LENGTHS ? 2 : n, 0, reals);
    array(file, "examples/sample", LS_RECORD_I64, 1, 2, 0, numbers);
    array(file, "examples/class", LS_RECORD_I64, 1, 2, 0, classes);
    array(file, "examples/predicted", LS_RECORD_I64, 2, n, how == PREDICTED_TOO_NARROW ? 1 : 2, numbers);
}

static void forge(trick how, bool attacking) {
    ls_h5_file *file;
    must(ls_h5_create(scratch_path("result.h5"), &file));
    if (how != NO_STEP) must(ls_h5_attribute_u64(file, "", "step", 3));
    must(ls_h5_attribute_u64(file, "", "fingerprint", UINT64_MAX));
    must(ls_h5_attribute_u64(file, "", "data_digest", 1));
    if (how != NO_CONFIG) must(ls_h5_write_text(file, "config/yaml", "seed: 1\n"));
    (attacking ? attack : evaluation)(file, how);
    must(ls_h5_commit(file, attacking ? "attack" : "evaluation", 1));
    ls_h5_discard(&file);
}

static void forged_results_are_refused(void **state) {
    (void)state;
    for (int attacking = 0; attacking < 2; attacking++)
        for (trick how = FINE; how < TRICKS; how++) {
            if (how > NO_CONFIG && (how >= EVALUATION_TRICKS) != attacking) continue;
            forge(how, attacking);
            for (int json = 0; json < 2; json++)
                assert_int_equal(inspect_of(scratch_path("result.h5"), json),
                                 how == FINE ? LS_OK : LS_BAD_DATA);
            if (how != FINE) assert_message(why[how]);
            if (how != FINE) assert_message("result.h5");
            if (how != FINE) assert_string_equal(printed(), "");
        }
}

static void what_is_there_is_shown(void **state) {
    (void)state;
    forge(FINE, false);
    assert_int_equal(inspect_of(scratch_path("result.h5"), 0), LS_OK);
    assert_printed("  checkpoint       step 3, fingerprint ffffffffffffffff\n");
    assert_printed("  test             7 samples: loss 0.500000, accuracy 0.7500 +- 0.1250\n");
    assert_printed("        0        4    0.7500           3     1\n");
    assert_not_printed("validation");
    assert_int_equal(inspect_of(scratch_path("result.h5"), 1), LS_OK);
    assert_printed("\"validation\": null");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(forged_results_are_refused, scratch_clear),
        cmocka_unit_test_setup(what_is_there_is_shown, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
