/* Checkpoints: what is written comes back, to the bit; other programs read it; a failed write harms nothing.
 */
#include "io/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "io/atomic_file.h"
#include "core/instruction_set.h"
#include "io/hdf5.h"
#include "io/scratch.h"

static const char config[] = "network: small\nlearning_rate: 0.05  # \xce\xb7\n";
static const ls_progress_mark mark = {
    12, 1, 4, 0xfedcba9876543210u, 0x8000000000000001u, UINT64_MAX, true, LS_AVX2, 28, 30, 10};

enum { RECORDS = 9, BIG_ROWS = 300, BIG_COLUMNS = 1001 };
static float weight[10][4], conv[2][3][3][3], big[BIG_ROWS][BIG_COLUMNS];
static double sums[3];
static int64_t batches = INT64_MIN;
static uint64_t trail[2][2] = {{0, UINT64_MAX}, {1, 0x0123456789abcdefu}};

static void fill(void) {
    for (int i = 0; i < 40; i++) (&weight[0][0])[i] = (float)i * 0.25f - 3.0f;
    for (int i = 0; i < 54; i++) (&conv[0][0][0][0])[i] = 1.0f / (float)(i + 1);
    for (int i = 0; i < BIG_ROWS * BIG_COLUMNS; i++) (&big[0][0])[i] = (float)i;
    weight[0][0] = -0.0f;
    weight[0][1] = INFINITY;
    const uint32_t payload = 0x7fc12345; /* a NaN whose payload must survive */
    memcpy(&weight[0][2], &payload, sizeof payload);
    sums[0] = 0.1;
    sums[1] = 4.9406564584124654e-324;
    sums[2] = (double)NAN;
}

/* The order is PyTorch's, not the alphabet's. `big` spans two chunks, the second one not full. */
static void make_records(ls_record out[RECORDS]) {
    const ls_record records[RECORDS] = {
        {"model/1.weight", LS_RECORD_F32, 2, {10, 4}, weight},
        {"model/0.weight", LS_RECORD_F32, 4, {2, 3, 3, 3}, conv},
        {"model/0.num_batches_tracked", LS_RECORD_I64, 0, {0}, &batches},
        {"optimizer/m/1.weight", LS_RECORD_F32, 2, {10, 4}, weight},
        {"batchnorm/0.running_mean", LS_RECORD_F64, 1, {3}, sums},
        {"history/epoch/train_loss", LS_RECORD_F64, 1, {0}, NULL},
        {"history/trail/tensors", LS_RECORD_U64, 2, {2, 2}, trail},
        {"history/trail/empty", LS_RECORD_U64, 2, {5, 0}, NULL},
        {"model/big", LS_RECORD_F32, 2, {BIG_ROWS, BIG_COLUMNS}, big},
    };
    memcpy(out, records, sizeof records);
}

static size_t size_of(const ls_record *record) {
    size_t size = ls_h5_type_size(record->type);
    for (int i = 0; i < record->dims; i++) size *= (size_t)record->shape[i];
    return size;
}

/* Writes all but the last `without` records. */
static char *write_checkpoint(int without) {
    ls_record records[RECORDS];
    char *path = NULL;
    fill();
    make_records(records);
    ls_status status =
        ls_checkpoint_write(scratch_folder(), &mark, config, records, RECORDS - without, &path);
    if (status != LS_OK) fail_msg("%s", ls_error_message());
    return path;
}

static void assert_says(const char *a, const char *b, const char *c) {
    const char *const parts[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        if (!strstr(ls_error_message(), parts[i]))
            fail_msg("\"%s\" lacks \"%s\"", ls_error_message(), parts[i]);
}

static void round_trip_is_exact(void **state) {
    (void)state;
    ls_record records[RECORDS];
    ls_checkpoint *checkpoint = NULL;
    char *path = write_checkpoint(0);
    assert_string_equal(path, scratch_path("checkpoint-12.h5"));
    assert_int_equal(ls_checkpoint_open(path, &checkpoint), LS_OK);
    assert_string_equal(ls_checkpoint_config(checkpoint), config);
    const ls_progress_mark *found = ls_checkpoint_mark(checkpoint);
    assert_true(found->step == mark.step && found->epoch == mark.epoch);
    assert_true(found->batch_in_epoch == mark.batch_in_epoch && found->seed == mark.seed);
    assert_true(found->data_digest == mark.data_digest && found->fingerprint == mark.fingerprint);
    assert_true(found->finished);
    assert_true(found->height == mark.height && found->width == mark.width && found->classes == mark.classes);
    assert_true(found->instruction_set == LS_AVX2);

    make_records(records);
    for (int i = 0; i < RECORDS; i++) {
        void *data = malloc(size_of(&records[i]) + 1);
        ls_record record = records[i];
        record.data = data;
        if (ls_checkpoint_read(checkpoint, &record) != LS_OK) fail_msg("%s", ls_error_message());
        if (size_of(&record) > 0) assert_memory_equal(data, records[i].data, size_of(&record));
        free(data);
    }
    assert_int_equal(ls_checkpoint_length(checkpoint, "batchnorm/0.running_mean"), 3);
    assert_int_equal(ls_checkpoint_length(checkpoint, "history/epoch/train_loss"), 0);
    assert_int_equal(ls_checkpoint_length(checkpoint, "history/trail/tensors"), -1);
    assert_int_equal(ls_checkpoint_length(checkpoint, "model/0.num_batches_tracked"), -1);
    assert_int_equal(ls_checkpoint_length(checkpoint, "model"), -1);
    assert_int_equal(ls_checkpoint_length(checkpoint, "model/none"), -1);
    ls_checkpoint_close(&checkpoint);
    ls_checkpoint_close(&checkpoint);
    free(path);
}

static void equal_content_gives_equal_bytes(void **state) {
    (void)state;
    free(write_checkpoint(0));
    bytes first = read_bytes(scratch_path("checkpoint-12.h5"));
    free(write_checkpoint(0));
    bytes second = read_bytes(scratch_path("checkpoint-12.h5"));
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    free(first.data);
    free(second.data);
}

static void two_files_open_at_once(void **state) {
    (void)state;
    ls_checkpoint *a = NULL, *b = NULL;
    free(write_checkpoint(0));
    assert_int_equal(ls_checkpoint_open(scratch_path("checkpoint-12.h5"), &a), LS_OK);
    assert_int_equal(ls_checkpoint_open(scratch_path("checkpoint-12.h5"), &b), LS_OK);
    ls_checkpoint_close(&a);
    assert_int_equal(ls_checkpoint_length(b, "batchnorm/0.running_mean"), 3);
    ls_checkpoint_close(&b);
}

static void h5dump_reads_it(void **state) {
    (void)state;
    if (run("command -v h5dump >/dev/null") != 0) {
        print_message("h5dump is not installed\n");
        skip();
    }
    char *path = write_checkpoint(0);
    assert_int_equal(run("h5dump '%s' > /dev/null 2>&1", path), 0);
    assert_int_equal(run("h5dump -p -H '%s' | grep -q FLETCHER32", path), 0);
    free(path);
}

static void h5py_reads_it_as_a_state_dict(void **state) {
    (void)state;
    if (run("/usr/bin/python3 -c 'import h5py' 2>/dev/null") != 0) {
        print_message("h5py is not installed\n");
        skip();
    }
    char *path = write_checkpoint(0);
    assert_int_equal(
        run("/usr/bin/python3 -c \"\n"
            "import h5py, numpy\n"
            "f = h5py.File('%s', 'r')\n"
            "state = {k: d[()] for k, d in f['model'].items()}\n"
            "assert list(state) == ['1.weight', '0.weight', '0.num_batches_tracked', 'big']\n"
            "assert state['0.weight'].shape == (2, 3, 3, 3) and state['0.weight'].dtype == '<f4'\n"
            "assert state['0.weight'][1, 2, 2, 2] == numpy.float32(1) / numpy.float32(54)\n"
            "assert state['0.num_batches_tracked'] == -2**63\n"
            "assert (state['big'].ravel() == numpy.arange(300 * 1001)).all()\n"
            "assert f['progress'].attrs['fingerprint'] == 2**64 - 1\n"
            "assert f['config/yaml'][()].decode().endswith(chr(0x3b7) + chr(10))\n"
            "assert f['history/epoch/train_loss'].shape == (0,)\n\"",
            path),
        0);
    free(path);
}

static void what_is_not_expected_is_named(void **state) {
    (void)state;
    char *path = write_checkpoint(1);
    ls_checkpoint *checkpoint = NULL;
    assert_int_equal(ls_checkpoint_open(path, &checkpoint), LS_OK);
    static const struct {
        ls_record record;
        const char *found, *expected;
    } cases[] = {
        {{"model/1.weight", LS_RECORD_F64, 2, {10, 4}, NULL}, "found f32 [10, 4]", "expected f64 [10, 4]"},
        {{"model/1.weight", LS_RECORD_F32, 2, {4, 10}, NULL}, "found f32 [10, 4]", "expected f32 [4, 10]"},
        {{"model/1.weight", LS_RECORD_F32, 1, {40}, NULL}, "found f32 [10, 4]", "expected f32 [40]"},
        {{"model/1.weight", LS_RECORD_F32, 0, {0}, NULL}, "found f32 [10, 4]", "expected f32 scalar"},
        {{"model/0.num_batches_tracked", LS_RECORD_U64, 0, {0}, NULL},
         "found i64 scalar",
         "expected u64 scalar"},
        {{"model/0.num_batches_tracked", LS_RECORD_I64, 1, {1}, NULL},
         "found i64 scalar",
         "expected i64 [1]"},
        {{"model/none", LS_RECORD_F32, 1, {1}, NULL}, "model/none", "found nothing at model/none"},
        {{"none/1.weight", LS_RECORD_F32, 1, {1}, NULL}, "none/1.weight", "found nothing at none"},
        {{"config/yaml", LS_RECORD_F32, 1, {1}, NULL}, "found string", "expected f32 [1]"},
        {{"model", LS_RECORD_F32, 1, {1}, NULL}, "found another kind of object", "expected a dataset"},
        {{"model/1.weight/x", LS_RECORD_F32, 1, {1}, NULL}, "HDF5", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_record record = cases[i].record;
        assert_int_equal(ls_checkpoint_read(checkpoint, &record), LS_BAD_DATA);
        assert_says(path, cases[i].found, cases[i].expected);
    }
    ls_checkpoint_close(&checkpoint);
    free(path);
}

static void what_makes_no_file_is_refused(void **state) {
    (void)state;
    static const ls_progress_mark far = {.step = (uint64_t)1 << 53};
    static float value[4];
    const ls_record twice[] = {{"a/b", LS_RECORD_F32, 1, {4}, value}, {"a/b", LS_RECORD_F32, 1, {4}, value}};
    const ls_record below[] = {{"a", LS_RECORD_F32, 1, {4}, value}, {"a/b", LS_RECORD_F32, 1, {4}, value}};
    const ls_record huge = {"a", LS_RECORD_F32, 2, {INT64_MAX, INT64_MAX}, value};
    const char *folder = scratch_folder();
    assert_int_equal(ls_checkpoint_write(folder, &mark, config, twice, 2, NULL), LS_INTERNAL);
    assert_says("checkpoint-12.h5", "HDF5", "name already exists");
    assert_int_equal(ls_checkpoint_write(folder, &mark, config, below, 2, NULL), LS_INTERNAL);
    assert_int_equal(ls_checkpoint_write(folder, &mark, config, &huge, 1, NULL), LS_INTERNAL);
    assert_says("checkpoint-12.h5", "a is larger", "4 GiB");
    assert_int_equal(ls_checkpoint_write(folder, &mark, "bell: \a", NULL, 0, NULL), LS_INTERNAL);
    assert_int_equal(ls_checkpoint_write(folder, &mark, "broken: \xc3", NULL, 0, NULL), LS_INTERNAL);
    assert_int_equal(ls_checkpoint_write(folder, &far, config, NULL, 0, NULL), LS_INTERNAL);
    assert_int_equal(count_files("."), 0);
    assert_int_equal(ls_checkpoint_write(folder, &mark, "", NULL, 0, NULL), LS_OK);
    ls_checkpoint *checkpoint = NULL;
    assert_int_equal(ls_checkpoint_open(scratch_path("checkpoint-12.h5"), &checkpoint), LS_OK);
    assert_string_equal(ls_checkpoint_config(checkpoint), "");
    ls_checkpoint_close(&checkpoint);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
    (void)state;
    char *path = NULL;
    assert_int_equal(ls_checkpoint_write(scratch_path("none"), &mark, config, NULL, 0, &path), LS_OUTPUT);
    assert_says(scratch_path("none/checkpoint-12.h5"), "No such file or directory", "");
    write_bytes(scratch_path("file"), (const unsigned char *)"x", 1);
    assert_int_equal(ls_checkpoint_write(scratch_path("file"), &mark, config, NULL, 0, &path), LS_OUTPUT);
    assert_says(scratch_path("file/checkpoint-12.h5"), "Not a directory", "");
    assert_int_equal(ls_checkpoint_write("/proc/self", &mark, config, NULL, 0, &path), LS_OUTPUT);
    assert_says("/proc/self/checkpoint-12.h5", "cannot create its temporary file", "");
    assert_null(path);
}

/* The limit on file sizes stands in for a full disk: write() stops half-way, then fails. */
static void a_full_disk_leaves_the_older_file(void **state) {
    (void)state;
    struct rlimit before, tight;
    char *path = write_checkpoint(0);
    bytes old = read_bytes(path);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 0; limit < 1000000; limit = limit * 3 + 1) {
        ls_record records[RECORDS];
        make_records(records);
        batches = 7;
        tight = before;
        tight.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
        ls_status status = ls_checkpoint_write(scratch_folder(), &mark, config, records, RECORDS, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, LS_OUTPUT);
        assert_says(path, "a file may have ", "");
        assert_int_equal(count_files("."), 1);
        bytes now = read_bytes(path);
        assert_int_equal(now.size, old.size);
        assert_memory_equal(now.data, old.data, old.size);
        free(now.data);
    }
    signal(SIGXFSZ, SIG_DFL);
    batches = INT64_MIN;
    free(write_checkpoint(0)); /* and the next one succeeds */
    free(old.data);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(round_trip_is_exact, scratch_clear),
        cmocka_unit_test_setup(equal_content_gives_equal_bytes, scratch_clear),
        cmocka_unit_test_setup(two_files_open_at_once, scratch_clear),
        cmocka_unit_test_setup(h5dump_reads_it, scratch_clear),
        cmocka_unit_test_setup(h5py_reads_it_as_a_state_dict, scratch_clear),
        cmocka_unit_test_setup(what_is_not_expected_is_named, scratch_clear),
        cmocka_unit_test_setup(what_makes_no_file_is_refused, scratch_clear),
        cmocka_unit_test_setup(a_folder_that_cannot_be_written_is_named, scratch_clear),
        cmocka_unit_test_setup(a_full_disk_leaves_the_older_file, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
