/* diff and inspect of metrics: trails of equal and of other intervals, runs without one, of other lengths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/checkpoints.h"
#include "io/hdf5.h"
#include "io/metrics.h"
#include "io/metrics_file.h"
#include "io/scratch.h"

/* A made run: ten steps to an epoch; what differs from `plain` differs in the file. */
typedef struct made_run {
    int steps, trail_interval;
    int wrong_step, wrong_tensor; /* the trail from that step on; tensor -1: only the fingerprint */
    int wrong_loss;               /* step whose loss differs; -1: epoch 1's validation loss */
    int tensors;
    bool tested;
    double test_loss, seconds;
    int test_interval; /* in epochs; 0: only at the end */
    bool wrong_test;   /* that after epoch 2 */
    const char *config, *digest;
} made_run;

static const made_run plain = {.steps = 20,
                               .trail_interval = 1,
                               .tensors = 3,
                               .tested = true,
                               .test_loss = 0.5,
                               .config = "seed: 1\nnetwork: [relu]\n",
                               .digest = "00000000000000aa"};

static void must(ls_status status) {
    if (status != LS_OK) fail_msg("%s", ls_error_message());
}

static void add_trail(ls_metrics *metrics, const made_run *run, int step) {
    uint64_t hash[4] = {100 + (uint64_t)step, 200 + (uint64_t)step, 300 + (uint64_t)step, 400};
    bool wrong = run->wrong_step > 0 && step >= run->wrong_step;
    if (wrong && run->wrong_tensor >= 0) hash[run->wrong_tensor]++;
    must(ls_metrics_add_trail(metrics, (uint64_t)step, 7 * (uint64_t)step + wrong, hash));
}

static void add_rows(ls_metrics *metrics, const made_run *run) {
    for (int step = 1; step <= run->steps; step++) {
        double loss = 1.0 / step + (step == run->wrong_loss ? 0x1p-50 : 0);
        ls_step_row row = {(uint64_t)step, loss, 0.5, 0.01};
        must(ls_metrics_add_step(metrics, &row));
        if (run->trail_interval && step % run->trail_interval == 0) add_trail(metrics, run, step);
        if (step % 10 != 0) continue;
        ls_epoch_row epoch = {(uint64_t)step / 10, loss, 0.5, (double)NAN, (double)NAN, 0.01,
                              run->seconds,        1,    0.1};
        if (step == 10 && run->wrong_loss == -1) epoch.validation_loss = 2;
        must(ls_metrics_add_epoch(metrics, &epoch));
        if (run->test_interval == 0 || epoch.epoch % (uint64_t)run->test_interval != 0) continue;
        must(ls_metrics_add_test(
            metrics, &(ls_test_row){epoch.epoch, 3 + (run->wrong_test && epoch.epoch == 2), 0.5}));
    }
}

/* Writes the run's metrics as FOLDER/<name>. */
static void write_run(const made_run *run, const char *name) {
    static const char *const names[] = {"model/1.weight", "model/1.bias", "batchnorm/0", "model/2.weight"};
    const ls_fact facts[] = {{"data_digest", run->digest}, {"host", "here"}};
    ls_metrics *metrics;
    must(ls_metrics_create(scratch_folder(), run->config, facts, 2, names, run->tensors, &metrics));
    add_rows(metrics, run);
    if (run->tested) ls_metrics_set_test(metrics, run->test_loss, 0.75);
    must(ls_metrics_write(metrics, 1));
    ls_metrics_destroy(&metrics);
    assert_int_equal(rename(scratch_path("metrics.h5"), scratch_path(name)), 0);
}

static ls_status diff_runs(const made_run *a, const made_run *b) {
    write_run(a, "a.h5");
    write_run(b, "b.h5");
    return diff_of(scratch_path("a.h5"), scratch_path("b.h5"));
}

static void equal_runs_are_equal(void **state) {
    (void)state;
    made_run other = plain;
    other.seconds = 9; /* provenance */
    assert_int_equal(diff_runs(&plain, &other), LS_OK);
    assert_printed("equal: losses and accuracies of 20 steps and 2 epochs, 3 tensors at 20 steps of the "
                   "trail, the test");
    assert_printed("data: the same (digest 00000000000000aa)");
    other.digest = "00000000000000ab";
    other.config = "seed: 1\nlr: 0.5\nnetwork: [relu]\n";
    assert_int_equal(diff_runs(&plain, &other), LS_OK);
    assert_printed("data: digest 00000000000000aa | 00000000000000ab");
    assert_printed("lr: 0.001 | 0.5");
}

static void the_first_step_and_tensor_are_named(void **state) {
    (void)state;
    made_run other = plain;
    other.wrong_step = 5;
    other.wrong_tensor = 2;
    assert_int_equal(diff_runs(&plain, &other), LS_DIFFERENT);
    assert_printed("different: first at step 5, tensor batchnorm/0 (equal at step 4)\n");
    other.wrong_step = 1;
    other.wrong_tensor = 1;
    assert_int_equal(diff_runs(&other, &plain), LS_DIFFERENT);
    assert_printed("different: first at step 1, tensor model/1.bias (the first step to compare)\n");
    other.wrong_step = 20;
    other.wrong_tensor = -1;
    assert_int_equal(diff_runs(&other, &plain), LS_DIFFERENT);
    assert_printed("different: first at step 20, the fingerprint (equal at step 19)\n");
}

static void trails_of_other_intervals_meet_at_common_steps(void **state) {
    (void)state;
    made_run a = plain, b = plain;
    a.trail_interval = 2;
    b.trail_interval = 3;
    assert_int_equal(diff_runs(&a, &b), LS_OK);
    assert_printed("3 tensors at 3 steps of the trail");
    b.wrong_step = 7;
    assert_int_equal(diff_runs(&a, &b), LS_DIFFERENT);
    assert_printed("different: first at step 12, tensor model/1.weight (equal at step 6)");
    a.trail_interval = 19;
    assert_int_equal(diff_runs(&a, &b), LS_OK);
    assert_printed(
        "trail: no step is in both (other trail_interval): only losses and accuracies could be compared");
}

static void without_a_trail_the_rows_are_compared(void **state) {
    (void)state;
    made_run a = plain, b = plain;
    b.trail_interval = 0;
    assert_int_equal(diff_runs(&a, &b), LS_OK);
    assert_printed("trail: B has none (trail_interval=0): only losses and accuracies could be compared");
    assert_int_equal(diff_runs(&b, &a), LS_OK);
    assert_printed("trail: A has none");
    assert_int_equal(diff_runs(&b, &b), LS_OK);
    assert_printed("trail: neither run has one");
    a.trail_interval = 0;
    b.wrong_loss = 8;
    assert_int_equal(diff_runs(&a, &b), LS_DIFFERENT);
    assert_printed("step rows: first difference in step 8: loss 0.125 | 0.12500000000000089\n");
    assert_printed("different: in the rows above\n");
    b.wrong_loss = -1;
    assert_int_equal(diff_runs(&a, &b), LS_DIFFERENT);
    assert_printed("epoch rows: first difference in epoch 1: validation_loss nan | 2\n");
    b.wrong_loss = 0;
    b.test_loss = 0.25;
    assert_int_equal(diff_runs(&a, &b), LS_DIFFERENT);
    assert_printed("test: loss 0.5 | 0.25 accuracy 0.75 | 0.75\n");
}

static void tests_of_other_intervals_meet_at_common_epochs(void **state) {
    (void)state;
    made_run a = plain, b = plain;
    a.steps = b.steps = 60;
    a.test_interval = 1;
    b.test_interval = 2;
    assert_int_equal(diff_runs(&a, &b), LS_OK);
    b.wrong_test = true;
    assert_int_equal(diff_runs(&a, &b), LS_DIFFERENT);
    assert_printed("test rows: first difference in epoch 2: loss 3 | 4\n");
    a.test_interval = 3; /* 3 and 6, the other 2, 4 and 6 */
    assert_int_equal(diff_runs(&b, &a), LS_OK);
    a.test_interval = 0;
    assert_int_equal(diff_runs(&a, &b), LS_OK);
}

static void other_tensors_leave_the_rows(void **state) {
    (void)state;
    made_run other = plain;
    other.tensors = 4;
    assert_int_equal(diff_runs(&plain, &other), LS_DIFFERENT);
    assert_printed("trail: the runs have different tensors");
    assert_printed("different: in their tensors, though the rows are equal");
}

static void a_longer_run_is_told(void **state) {
    (void)state;
    made_run shorter = plain;
    shorter.steps = 12;
    shorter.tested = false;
    assert_int_equal(diff_runs(&plain, &shorter), LS_DIFFERENT);
    assert_printed(
        "equal as far as both go: losses and accuracies of 12 steps and 1 epochs, 3 tensors at 12 steps");
    assert_printed("different: A goes further, to 20 steps, 2 epochs and a test result");
    shorter.test_loss = 9; /* of another step: not compared */
    shorter.tested = true;
    assert_int_equal(diff_runs(&shorter, &plain), LS_DIFFERENT);
    assert_printed("different: B goes further");
    shorter.wrong_step = 12;
    assert_int_equal(diff_runs(&plain, &shorter), LS_DIFFERENT);
    assert_printed("different: first at step 12, tensor model/1.weight");
    shorter = plain;
    shorter.tested = false;
    assert_int_equal(diff_runs(&shorter, &plain), LS_DIFFERENT);
    assert_printed("different: B goes further, to 20 steps, 2 epochs and a test result");
    shorter.steps = 0;
    assert_int_equal(diff_runs(&shorter, &shorter), LS_OK);
    assert_printed("equal: losses and accuracies of 0 steps and 0 epochs");
}

static void inspect_shows_metrics(void **state) {
    (void)state;
    made_run empty = plain;
    write_run(&plain, "a.h5");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 0), LS_OK);
    assert_printed("  host             here\n");
    assert_printed("  last step        20: loss 0.05, accuracy 0.5000\n");
    assert_printed("  test             loss 0.500000, accuracy 0.7500\n");
    assert_printed(
        "  trail            20 steps from 1 to 20, 3 tensors; the last fingerprint is 000000000000008c\n");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 1), LS_OK);
    assert_printed("\"validation_loss\": null");
    empty.steps = 0;
    empty.tested = false;
    write_run(&empty, "a.h5");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 0), LS_OK);
    assert_printed("  test             not yet\n");
    assert_printed("  trail            none (trail_interval=0)\n");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 1), LS_OK);
    assert_printed("\"last_step\": null");
}

/* ---- forged files: sealed properly, but their content is wrong ---- */

typedef enum trick {
    FINE,
    SHORT_COLUMN,
    STEPS_FALL,
    NO_TRAIL,
    TRAIL_FALLS,
    TESTS_FALL,
    TRAIL_TOO_WIDE,
    TEST_IS_INTEGER,
    NO_CONFIG,
    CONFIG_IS_NONSENSE,
    FACT_IS_NUMBER,
    TRICKS
} trick;

static void write_forged(trick how) {
    static uint64_t rising[3] = {1, 2, 3}, falling[3] = {1, 3, 2};
    static double numbers[3] = {1, 2, 3};
    static char wide[1 << 16];
    static const char *const reals[] = {"step/loss",
                                        "step/accuracy",
                                        "step/learning_rate",
                                        "epoch/train_loss",
                                        "epoch/train_accuracy",
                                        "epoch/validation_loss",
                                        "epoch/validation_accuracy",
                                        "epoch/learning_rate",
                                        "tests/loss",
                                        "tests/accuracy",
                                        "provenance/seconds",
                                        "provenance/images_per_second",
                                        "provenance/communication_share"};
    ls_h5_file *file;
    memset(wide, '\n', sizeof wide - 1);
    must(ls_h5_create(scratch_path("b.h5"), &file));
    ls_record steps = {"step/step", LS_RECORD_U64, 1, {3}, how == STEPS_FALL ? falling : rising};
    ls_record epochs = {"epoch/epoch", LS_RECORD_U64, 1, {3}, rising};
    must(ls_h5_write_record(file, &steps));
    ls_record tests = {"tests/epoch", LS_RECORD_U64, 1, {3}, how == TESTS_FALL ? falling : rising};
    must(ls_h5_write_record(file, &epochs));
    must(ls_h5_write_record(file, &tests));
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        ls_record record = {reals[i], LS_RECORD_F64, 1, {how == SHORT_COLUMN && i == 2 ? 2 : 3}, numbers};
        must(ls_h5_write_record(file, &record));
    }
    ls_record trail_step = {"trail/step", LS_RECORD_U64, 1, {3}, how == TRAIL_FALLS ? falling : rising};
    ls_record fingerprint = {"trail/fingerprint", LS_RECORD_U64, 1, {3}, rising};
    ls_record tensors = {"trail/tensors", LS_RECORD_U64, 2, {3, 1}, rising};
    if (how != NO_TRAIL) must(ls_h5_write_record(file, &trail_step));
    must(ls_h5_write_record(file, &fingerprint));
    must(ls_h5_write_record(file, &tensors));
    must(ls_h5_write_text(file, "trail/names", how == TRAIL_TOO_WIDE ? wide : "model/1.weight"));
    must(ls_h5_group(file, "test"));
    if (how == TEST_IS_INTEGER) must(ls_h5_attribute_u64(file, "test", "loss", 1));
    if (how != NO_CONFIG)
        must(ls_h5_write_text(file, "config/yaml", how == CONFIG_IS_NONSENSE ? "lr: [" : plain.config));
    ls_record number = {"provenance/host", LS_RECORD_F64, 0, {0}, numbers};
    if (how == FACT_IS_NUMBER) must(ls_h5_write_record(file, &number));
    must(ls_h5_commit(file, "metrics", 1));
    ls_h5_discard(&file);
}

static void forged_metrics_are_refused(void **state) {
    (void)state;
    static const char *const why[TRICKS] = {
        [SHORT_COLUMN] = "found f64 [2], expected f64 [3]",
        [STEPS_FALL] = "step/step: found 2 after 3, expected to increase",
        [NO_TRAIL] = "found no array trail/step",
        [TESTS_FALL] = "tests/epoch: found 2 after 3, expected to increase",
        [TRAIL_FALLS] = "trail/step: found 2 after 3",
        [TRAIL_TOO_WIDE] = "more than the file holds",
        [TEST_IS_INTEGER] = "attribute loss: found u64, expected f64 scalar",
        [NO_CONFIG] = "found nothing at config",
        [CONFIG_IS_NONSENSE] = "not valid YAML",
        [FACT_IS_NUMBER] = "provenance/host: found f64, expected one string",
    };
    write_run(&plain, "a.h5");
    for (trick how = FINE; how < TRICKS; how++) {
        write_forged(how);
        bool readable = how == FINE || how == CONFIG_IS_NONSENSE; /* which is shown, but not compared */
        assert_int_equal(inspect_of(scratch_path("b.h5"), 0), readable ? LS_OK : LS_BAD_DATA);
        assert_int_equal(diff_of(scratch_path("a.h5"), scratch_path("b.h5")),
                         how == FINE ? LS_DIFFERENT : LS_BAD_DATA);
        if (how != FINE) assert_message(why[how]);
        if (how != FINE) assert_message("b.h5");
    }
}

static void damaged_metrics_are_refused(void **state) {
    (void)state;
    write_run(&plain, "a.h5");
    bytes file = read_bytes(scratch_path("a.h5"));
    for (size_t i = 0; i < file.size; i += 613) {
        file.data[i] ^= 1;
        write_bytes(scratch_path("metrics.h5"), file.data, file.size);
        assert_int_equal(inspect_of(scratch_path("metrics.h5"), 1), LS_BAD_DATA);
        assert_string_equal(printed(), "");
        assert_message("metrics.h5: ");
        file.data[i] ^= 1;
    }
    for (size_t size = 0; size < file.size; size += 2003) {
        write_bytes(scratch_path("metrics.h5"), file.data, size);
        assert_int_equal(diff_of(scratch_path("a.h5"), scratch_path("metrics.h5")), LS_BAD_DATA);
        assert_message("metrics.h5: ");
    }
    free(file.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(equal_runs_are_equal, scratch_clear),
        cmocka_unit_test_setup(the_first_step_and_tensor_are_named, scratch_clear),
        cmocka_unit_test_setup(trails_of_other_intervals_meet_at_common_steps, scratch_clear),
        cmocka_unit_test_setup(without_a_trail_the_rows_are_compared, scratch_clear),
        cmocka_unit_test_setup(tests_of_other_intervals_meet_at_common_epochs, scratch_clear),
        cmocka_unit_test_setup(other_tensors_leave_the_rows, scratch_clear),
        cmocka_unit_test_setup(a_longer_run_is_told, scratch_clear),
        cmocka_unit_test_setup(inspect_shows_metrics, scratch_clear),
        cmocka_unit_test_setup(forged_metrics_are_refused, scratch_clear),
        cmocka_unit_test_setup(damaged_metrics_are_refused, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
