/* metrics.h5: what is added is there, other programs read and compare it, and a checkpoint restores it. */
#include "io/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/scratch.h"

#define PYTHON "/usr/bin/python3"

static const ls_progress_mark mark = {.step = 200, .epoch = 2};
static const char *const tensors[] = {"0.weight", "0.bias", "3.weight"};
enum { TENSORS = 3 };

static ls_metrics *create(const char *folder, const char *host) {
    const ls_fact facts[] = {{"host", host}, {"versions", "HDF5 1.10\nOpen MPI 4.1"}, {"note", ""}};
    ls_metrics *metrics = NULL;
    if (ls_metrics_create(folder, "network: small\n", facts, 3, tensors, TENSORS, &metrics) != LS_OK)
        fail_msg("%s", ls_error_message());
    return metrics;
}

/* Rows from..to-1 of a made-up run whose values depend on the row alone, but for the times. */
static void add_rows(ls_metrics *metrics, int from, int to, double time) {
    for (int i = from; i < to; i++) {
        const ls_step_row row = {(uint64_t)i + 1, 1.0 / (i + 1), i * 0.001, 0.05};
        assert_int_equal(ls_metrics_add_step(metrics, &row), LS_OK);
        if ((i + 1) % 100 == 0) {
            const uint64_t e = ((uint64_t)i + 1) / 100;
            const ls_epoch_row epoch = {e,    2.0 / (double)e, 0.5,       (double)NAN, (double)NAN, 0.05,
                                        time, 1000 / time,     0.1 * time};
            assert_int_equal(ls_metrics_add_epoch(metrics, &epoch), LS_OK);
            const ls_test_row test = {e, 3.0 / (double)e, 0.75};
            if (e % 2 == 1) assert_int_equal(ls_metrics_add_test(metrics, &test), LS_OK);
        }
        if ((i + 1) % 10 == 0) {
            const uint64_t hashes[TENSORS] = {(uint64_t)i, UINT64_MAX - (uint64_t)i, 7};
            assert_int_equal(ls_metrics_add_trail(metrics, (uint64_t)i + 1, 3 * (uint64_t)i, hashes), LS_OK);
        }
    }
}

static void write_now(ls_metrics *metrics) {
    if (ls_metrics_write(metrics, 1) != LS_OK) fail_msg("%s", ls_error_message());
}

/* Writes a checkpoint that holds the history, and opens it. */
static ls_checkpoint *through_checkpoint(ls_metrics *metrics) {
    const ls_record *records;
    int count;
    char *path = NULL;
    ls_checkpoint *checkpoint = NULL;
    assert_int_equal(ls_metrics_records(metrics, &records, &count), LS_OK);
    assert_int_equal(ls_checkpoint_write(scratch_folder(), &mark, "a: 1\n", records, count, &path), LS_OK);
    if (ls_checkpoint_open(path, &checkpoint) != LS_OK) fail_msg("%s", ls_error_message());
    free(path);
    return checkpoint;
}

static void an_empty_history_is_a_file_too(void **state) {
    (void)state;
    ls_metrics *metrics = create(scratch_folder(), "node7"), *restored = create(scratch_folder(), "node7");
    assert_int_equal(count_files("metrics"), 0);
    write_now(metrics);
    assert_int_equal(count_files("metrics.h5"), 1);
    bytes first = read_bytes(scratch_path("metrics.h5"));
    ls_checkpoint *checkpoint = through_checkpoint(metrics);
    assert_int_equal(ls_metrics_restore(restored, checkpoint), LS_OK);
    write_now(restored);
    bytes second = read_bytes(scratch_path("metrics.h5"));
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    free(first.data);
    free(second.data);
    ls_checkpoint_close(&checkpoint);
    ls_metrics_destroy(&restored);
    ls_metrics_destroy(&metrics);
    ls_metrics_destroy(&metrics);
}

/* A run that is interrupted at row 137, restored and continued has the file of one that was not, to the byte.
 */
static void a_restored_history_goes_on_as_if_nothing_had_been(void **state) {
    (void)state;
    ls_metrics *whole = create(scratch_folder(), "node7"), *part = create(scratch_folder(), "node7"),
               *resumed = create(scratch_folder(), "node7");
    add_rows(whole, 0, 300, 2.0);
    ls_metrics_set_test(whole, 0.1, 0.97);
    write_now(whole);
    bytes expected = read_bytes(scratch_path("metrics.h5"));

    add_rows(part, 0, 137, 2.0);
    ls_checkpoint *checkpoint = through_checkpoint(part);
    add_rows(resumed, 0, 5, 9.0); /* what is there is replaced */
    ls_metrics_set_test(resumed, 1, 1);
    assert_int_equal(ls_metrics_restore(resumed, checkpoint), LS_OK);
    add_rows(resumed, 137, 300, 2.0);
    ls_metrics_set_test(resumed, 0.1, 0.97);
    write_now(resumed);
    bytes found = read_bytes(scratch_path("metrics.h5"));
    assert_int_equal(found.size, expected.size);
    assert_memory_equal(found.data, expected.data, found.size);

    ls_checkpoint_close(&checkpoint);
    checkpoint = through_checkpoint(resumed); /* with test results */
    assert_int_equal(ls_metrics_restore(part, checkpoint), LS_OK);
    write_now(part);
    bytes again = read_bytes(scratch_path("metrics.h5"));
    assert_int_equal(again.size, expected.size);
    assert_memory_equal(again.data, expected.data, again.size);

    free(expected.data);
    free(found.data);
    free(again.data);
    ls_checkpoint_close(&checkpoint);
    ls_metrics_destroy(&whole);
    ls_metrics_destroy(&part);
    ls_metrics_destroy(&resumed);
}

static void a_checkpoint_without_history_changes_nothing(void **state) {
    (void)state;
    ls_metrics *metrics = create(scratch_folder(), "node7"), *narrow = NULL;
    char *path = NULL;
    ls_checkpoint *checkpoint = NULL;
    add_rows(metrics, 0, 120, 2.0);
    write_now(metrics);
    bytes before = read_bytes(scratch_path("metrics.h5"));
    assert_int_equal(ls_checkpoint_write(scratch_folder(), &mark, "", NULL, 0, &path), LS_OK);
    assert_int_equal(ls_checkpoint_open(path, &checkpoint), LS_OK);
    assert_int_equal(ls_metrics_restore(metrics, checkpoint), LS_BAD_DATA);
    assert_non_null(strstr(ls_error_message(), "checkpoint-200.h5: found no array history/step/step"));
    ls_checkpoint_close(&checkpoint);

    /* A trail of another number of tensors. */
    checkpoint = through_checkpoint(metrics);
    assert_int_equal(ls_metrics_create(scratch_folder(), "", NULL, 0, tensors, 2, &narrow), LS_OK);
    assert_int_equal(ls_metrics_restore(narrow, checkpoint), LS_BAD_DATA);
    assert_non_null(strstr(ls_error_message(), "found u64 [12, 3], expected u64 [12, 2]"));
    ls_checkpoint_close(&checkpoint);

    write_now(metrics);
    bytes after = read_bytes(scratch_path("metrics.h5"));
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    free(before.data);
    free(after.data);
    free(path);
    ls_metrics_destroy(&narrow);
    ls_metrics_destroy(&metrics);
}

static void equal_runs_differ_in_provenance_only(void **state) {
    (void)state;
    if (run("command -v h5diff >/dev/null") != 0) {
        print_message("h5diff is not installed\n");
        skip();
    }
    const char *a = scratch_path("a.h5"), *b = scratch_path("b.h5"), *c = scratch_path("c.h5");
    const char *const hosts[] = {"node7", "node11 with a longer name", "node7"}, *const names[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        ls_metrics *metrics = create(scratch_folder(), hosts[i]);
        add_rows(metrics, 0, 300, 2.0 + i);
        ls_metrics_set_test(metrics, 0.1, i == 2 ? 0.96 : 0.97);
        write_now(metrics);
        assert_int_equal(rename(scratch_path("metrics.h5"), names[i]), 0);
        ls_metrics_destroy(&metrics);
    }
    assert_int_equal(run("h5diff --exclude-path /provenance '%s' '%s'", a, b), 0);
    assert_int_equal(run("h5diff '%s' '%s' > /dev/null 2>&1", a, b), 1);
    assert_int_equal(run("h5diff --exclude-path /provenance '%s' '%s' > /dev/null 2>&1", a, c), 1);
    assert_int_equal(run("h5dump '%s' > /dev/null 2>&1", a), 0);
}

static void h5py_finds_curves_and_facts(void **state) {
    (void)state;
    if (run(PYTHON " -c 'import h5py' 2>/dev/null") != 0) {
        print_message("h5py is not installed\n");
        skip();
    }
    ls_metrics *metrics = create(scratch_folder(), "node\xff\a7");
    add_rows(metrics, 0, 300, 2.0);
    ls_metrics_set_test(metrics, 0.125, 0.97);
    write_now(metrics);
    assert_int_equal(
        run(PYTHON
            " -c \"\n"
            "import h5py, math\n"
            "f = h5py.File('%s', 'r')\n"
            "plot = f[f.attrs['default'].decode()]\n"
            "assert plot.attrs['NX_class'] == b'NXdata'\n"
            "x, y = (plot[plot.attrs[k].decode()] for k in ('axes', 'signal'))\n"
            "assert list(x) == [1, 2, 3] and list(y) == [2, 1, 2 / 3]\n"
            "others = [plot[k.decode()] for k in plot.attrs['auxiliary_signals']]\n"
            "assert len(others) == 3 and math.isnan(others[0][2])\n"
            "assert list(plot)[:3] == ['epoch', 'train_loss', 'train_accuracy']\n"
            "assert f['step/loss'].shape == (300,) and f['step/loss'][9] == 0.1\n"
            "assert f['step'].attrs['signal'] == b'loss' and f['step'].attrs['axes'] == b'step'\n"
            "t = f['tests']\n"
            "assert t.attrs['NX_class'] == b'NXdata' and t.attrs['signal'] == b'loss' and t.attrs['axes'] == "
            "b'epoch'\n"
            "assert list(t['epoch']) == [1, 3] and list(t['loss']) == [3, 1] and list(t['accuracy']) == "
            "[.75, .75]\n"
            "assert f['test'].attrs['loss'] == 0.125 and f['test'].attrs['accuracy'] == 0.97\n"
            "assert f['trail/names'][()].decode().split() == ['0.weight', '0.bias', '3.weight']\n"
            "assert f['trail/tensors'].shape == (30, 3) and f['trail/tensors'][1, 1] == 2**64 - 1 - 19\n"
            "assert f['trail/fingerprint'][1] == 57 and f['trail/step'][1] == 20\n"
            "assert f['config/yaml'][()] == b'network: small\\n'\n"
            "p = f['provenance']\n"
            "assert p['host'][()] == b'node??7' and p['note'][()] == b''\n"
            "assert p['seconds'].shape == (3,) and p['images_per_second'][0] == 500\n\"",
            scratch_path("metrics.h5")),
        0);
    ls_metrics_destroy(&metrics);
}

static void writes_are_spaced_out_unless_asked_for(void **state) {
    (void)state;
    ls_metrics *metrics = create(scratch_folder(), "node7");
    add_rows(metrics, 0, 100, 2.0);
    assert_int_equal(ls_metrics_write(metrics, 0), LS_OK);
    assert_int_equal(count_files("metrics.h5"), 1);
    assert_int_equal(unlink(scratch_path("metrics.h5")), 0);
    assert_int_equal(ls_metrics_write(metrics, 0), LS_OK);
    assert_int_equal(count_files("metrics.h5"), 0);
    assert_int_equal(ls_metrics_write(metrics, 1), LS_OK);
    assert_int_equal(count_files("metrics.h5"), 1);
    ls_metrics_destroy(&metrics);
}

static void a_failed_write_is_reported_and_harmless(void **state) {
    (void)state;
    ls_metrics *metrics = create(scratch_path("none"), "node7");
    assert_int_equal(ls_metrics_write(metrics, 0), LS_OUTPUT);
    assert_non_null(strstr(ls_error_message(), "none/metrics.h5: cannot create its temporary file"));
    ls_metrics_destroy(&metrics);
}

static void without_tensors_the_trail_has_no_columns(void **state) {
    (void)state;
    ls_metrics *metrics = NULL;
    assert_int_equal(ls_metrics_create(scratch_folder(), "", NULL, 0, NULL, 0, &metrics), LS_OK);
    assert_int_equal(ls_metrics_add_trail(metrics, 1, 2, NULL), LS_OK);
    write_now(metrics);
    ls_checkpoint *checkpoint = through_checkpoint(metrics);
    assert_int_equal(ls_metrics_restore(metrics, checkpoint), LS_OK);
    ls_checkpoint_close(&checkpoint);
    ls_metrics_destroy(&metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_history_is_a_file_too, scratch_clear),
        cmocka_unit_test_setup(a_restored_history_goes_on_as_if_nothing_had_been, scratch_clear),
        cmocka_unit_test_setup(a_checkpoint_without_history_changes_nothing, scratch_clear),
        cmocka_unit_test_setup(equal_runs_differ_in_provenance_only, scratch_clear),
        cmocka_unit_test_setup(h5py_finds_curves_and_facts, scratch_clear),
        cmocka_unit_test_setup(writes_are_spaced_out_unless_asked_for, scratch_clear),
        cmocka_unit_test_setup(a_failed_write_is_reported_and_harmless, scratch_clear),
        cmocka_unit_test_setup(without_tensors_the_trail_has_no_columns, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
