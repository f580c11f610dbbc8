/* Checkpoints that are not as they were written, and such as a stranger may have made: all refused, with a
 * message that says what was found, and without a crash. */
#include "io/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>

#include "core/instruction_set.h"
#include "io/hdf5.h"
#include "io/scratch.h"
#include "io/seal.h"

static const ls_progress_mark mark = {3, 1, 1, 1, 2, 3, false, LS_PORTABLE, 28, 28, 10};
static float weight[2][3] = {{1, 2, 3}, {4, 5, 6}};

static char *write_small(void) {
    static int64_t batches = 5;
    const ls_record records[] = {{"model/1.weight", LS_RECORD_F32, 2, {2, 3}, weight},
                                 {"model/1.num_batches_tracked", LS_RECORD_I64, 0, {0}, &batches}};
    char *path = NULL;
    assert_int_equal(ls_checkpoint_write(scratch_folder(), &mark, "a: 1\n", records, 2, &path), LS_OK);
    assert_int_equal(chmod(path, 0600), 0); /* it is going to be damaged */
    return path;
}

static ls_status open_and_close(const char *path) {
    ls_checkpoint *checkpoint = NULL;
    ls_status status = ls_checkpoint_open(path, &checkpoint);
    ls_checkpoint_close(&checkpoint);
    return status;
}

static void assert_refused(const char *path, const char *words) {
    assert_int_equal(open_and_close(path), LS_BAD_DATA);
    if (strncmp(ls_error_message(), path, strlen(path)) != 0 || !strstr(ls_error_message(), words))
        fail_msg("\"%s\" does not begin with \"%s\" or lacks \"%s\"", ls_error_message(), path, words);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    char *path = write_small();
    bytes whole = read_bytes(path);
    for (size_t size = whole.size; size-- > 0;) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        assert_refused(path, "expected");
    }
    whole.data[whole.size] = 0;
    write_bytes(path, whole.data, whole.size + 1);
    assert_refused(path, "expected");
    write_bytes(path, whole.data, whole.size);
    assert_int_equal(open_and_close(path), LS_OK);
    print_message("%zu lengths refused\n", whole.size);
    free(whole.data);
    free(path);
}

static void every_flipped_bit_is_refused(void **state) {
    (void)state;
    char *path = write_small();
    bytes whole = read_bytes(path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    for (size_t bit = 0; bit < 8 * whole.size; bit++) {
        int byte = whole.data[bit / 8];
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(byte ^ 1 << bit % 8, file);
        assert_refused(path, "found");
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(byte, file);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(open_and_close(path), LS_OK);
    print_message("%zu bits refused\n", 8 * whole.size);
    free(whole.data);
    free(path);
}

static void what_is_no_checkpoint_is_refused(void **state) {
    (void)state;
    assert_refused(scratch_path("none"), "No such file or directory");
    assert_refused(scratch_folder(), "not a regular file");
    write_bytes(scratch_path("empty"), (const unsigned char *)"", 0);
    assert_refused(scratch_path("empty"), "found 0 bytes");
    hid_t file = H5Fcreate(scratch_path("other.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file > 0 && H5Fclose(file) >= 0);
    assert_refused(scratch_path("other.h5"), "another program's HDF5 file");

    unsigned char nothing[2 * LS_SEAL_SIZE] = {0}; /* a good seal around what HDF5 cannot parse */
    ls_seal_write(nothing, sizeof nothing, "checkpoint", 1);
    write_bytes(scratch_path("nothing"), nothing, sizeof nothing);
    assert_refused(scratch_path("nothing"), "HDF5: ");
    ls_seal_write(nothing, sizeof nothing, "metrics", 1);
    write_bytes(scratch_path("metrics"), nothing, sizeof nothing);
    assert_refused(scratch_path("metrics"), "of kind \"metrics\", expected \"checkpoint\"");
    ls_seal_write(nothing, sizeof nothing, "checkpoint", 2);
    write_bytes(scratch_path("newer"), nothing, sizeof nothing);
    assert_refused(scratch_path("newer"), "found format version 2, expected 1");
    assert_int_equal(run("mkfifo '%s'", scratch_path("pipe")), 0);
    assert_refused(scratch_path("pipe"), "not a regular file");
}

/* ---- files as a stranger could make and seal them ---- */

typedef enum trick {
    NONE,
    SOFT_LINK,
    SOFT_GROUP,
    EXTERNAL_LINK,
    BIG_ENDIAN,
    COMPOUND,
    VARIABLE_LENGTH,
    DEFLATE,
    SHUFFLE,
    EXTERNAL_FILE,
    VIRTUAL,
    NEVER_WRITTEN,
    HUGE_SHAPE,
    HUGE_CHUNK,
    NULL_SPACE,
    FIVE_DIMENSIONS,
    TRICKS, /* below: what opening already refuses */
    STEP_TOO_LARGE,
    FINISHED_TWICE,
    SEED_IS_FLOAT,
    SEED_IS_SIGNED,
    SEED_IS_ARRAY,
    NO_SEED,
    PROGRESS_IS_DATASET,
    NO_PROGRESS,
    TEXT_VARIABLE,
    TEXT_LIST,
    TEXT_LONG,
    TEXT_NUL,
    TEXT_ESCAPE,
    TEXT_C1,
    TEXT_NOT_UTF8,
    TEXT_OVERLONG,
    TEXT_IS_NUMBER,
    NO_TEXT,
} trick;

static void put_attribute(hid_t group, const char *name, uint64_t value, trick how) {
    const hsize_t two = 2;
    uint64_t values[2] = {value, value};
    hid_t type = how == SEED_IS_FLOAT    ? H5T_IEEE_F64LE
                 : how == SEED_IS_SIGNED ? H5T_STD_I64LE
                                         : H5T_STD_U64LE;
    hid_t space = how == SEED_IS_ARRAY ? H5Screate_simple(1, &two, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_UINT64, values) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

static void put_progress(hid_t file, trick how) {
    static const char *const names[] = {"step",        "epoch",       "batch_in_epoch",  "seed",
                                        "data_digest", "fingerprint", "instruction_set", "height",
                                        "width",       "classes",     "finished"};
    if (how == NO_PROGRESS) return;
    if (how == PROGRESS_IS_DATASET) {
        hid_t space = H5Screate(H5S_SCALAR);
        H5Dclose(H5Dcreate2(file, "progress", H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
        return;
    }
    hid_t group = H5Gcreate2(file, "progress", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    enum { SEED = 3, INSTRUCTION_SET = 6, COUNT = sizeof names / sizeof *names, FINISHED = COUNT - 1 };
    for (int i = 0; i < COUNT; i++) {
        if (how == NO_SEED && i == SEED) continue;
        uint64_t value = i == FINISHED ? how == FINISHED_TWICE ? 2 : 1 : i == INSTRUCTION_SET ? LS_AVX2 : 4;
        if (how == STEP_TOO_LARGE && i == 0) value = (uint64_t)1 << 53;
        put_attribute(group, names[i], value, i == SEED ? how : NONE);
    }
    H5Gclose(group);
}

static void put_text(hid_t file, trick how) {
    static char long_text[LS_H5_TEXT_LIMIT + 2];
    const char *text = how == TEXT_NUL         ? "a: 1\0b"
                       : how == TEXT_ESCAPE    ? "a: \033[2J"
                       : how == TEXT_C1        ? "a: \xc2\x9b"
                       : how == TEXT_NOT_UTF8  ? "a: \xff\xfe"
                       : how == TEXT_OVERLONG  ? "a: \xc0\xaf"
                       : how == TEXT_IS_NUMBER ? "12345678"
                                               : "a: 1\nb";
    const char *pointer = text;
    const hsize_t one = 1;
    size_t size = 6;
    if (how == NO_TEXT) return;
    memset(long_text, 'a', sizeof long_text - 1);
    if (how == TEXT_LONG) {
        text = long_text;
        size = sizeof long_text - 1;
    }
    hid_t type = H5Tcopy(how == TEXT_IS_NUMBER ? H5T_STD_U64LE : H5T_C_S1);
    if (how != TEXT_IS_NUMBER) H5Tset_size(type, how == TEXT_VARIABLE ? H5T_VARIABLE : size);
    hid_t space = how == TEXT_LIST ? H5Screate_simple(1, &one, NULL) : H5Screate(H5S_SCALAR);
    hid_t group = H5Gcreate2(file, "config", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t dataset = H5Dcreate2(group, "yaml", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const void *data = how == TEXT_VARIABLE ? (const void *)&pointer : text;
    assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(dataset);
    H5Gclose(group);
    H5Sclose(space);
    H5Tclose(type);
}

static hid_t weight_type(trick how) {
    if (how == BIG_ENDIAN) return H5Tcopy(H5T_IEEE_F32BE);
    if (how == VARIABLE_LENGTH) return H5Tvlen_create(H5T_IEEE_F32LE);
    if (how != COMPOUND) return H5Tcopy(H5T_IEEE_F32LE);
    hid_t type = H5Tcreate(H5T_COMPOUND, 4);
    H5Tinsert(type, "x", 0, H5T_IEEE_F32LE);
    return type;
}

static hid_t weight_space(trick how) {
    const hsize_t two[] = {2, 3}, five[] = {1, 1, 1, 2, 3}, huge[] = {(hsize_t)1 << 40, (hsize_t)1 << 20};
    const hsize_t unlimited[] = {H5S_UNLIMITED, H5S_UNLIMITED};
    if (how == NULL_SPACE) return H5Screate(H5S_NULL);
    if (how == FIVE_DIMENSIONS) return H5Screate_simple(5, five, NULL);
    if (how == HUGE_CHUNK) return H5Screate_simple(2, two, unlimited);
    return H5Screate_simple(2, how == HUGE_SHAPE ? huge : two, NULL);
}

static hid_t weight_list(trick how, hid_t space) {
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t small[] = {2, 3}, huge[] = {1 << 14, 1 << 14};
    if (how == DEFLATE || how == SHUFFLE || how == HUGE_SHAPE || how == NEVER_WRITTEN)
        H5Pset_chunk(list, 2, small);
    if (how == HUGE_CHUNK) H5Pset_chunk(list, 2, huge);
    if (how == DEFLATE) H5Pset_deflate(list, 9);
    if (how == SHUFFLE) H5Pset_shuffle(list);
    if (how == EXTERNAL_FILE) H5Pset_external(list, "/etc/passwd", 0, 24);
    if (how == VIRTUAL) H5Pset_virtual(list, space, "/etc/passwd", "x", space);
    return list;
}

static void put_weight(hid_t file, trick how) {
    const int unwritten = how == VARIABLE_LENGTH || how == EXTERNAL_FILE || how == VIRTUAL ||
                          how == NEVER_WRITTEN || how == HUGE_SHAPE || how == HUGE_CHUNK || how == NULL_SPACE;
    hid_t group =
        H5Gcreate2(file, how == SOFT_GROUP ? "other" : "model", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = weight_type(how), space = weight_space(how), list = weight_list(how, space);
    const char *name = how == SOFT_LINK || how == EXTERNAL_LINK ? "elsewhere" : "w";
    hid_t dataset = H5Dcreate2(group, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(dataset > 0);
    if (!unwritten) assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, weight) >= 0);
    if (how == SOFT_LINK) H5Lcreate_soft("/model/elsewhere", group, "w", H5P_DEFAULT, H5P_DEFAULT);
    if (how == SOFT_GROUP) H5Lcreate_soft("/other", file, "model", H5P_DEFAULT, H5P_DEFAULT);
    if (how == EXTERNAL_LINK) H5Lcreate_external("other.h5", "/x", group, "w", H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(dataset);
    H5Pclose(list);
    H5Sclose(space);
    H5Tclose(type);
    H5Gclose(group);
}

static const char *make_file(trick how) {
    const char *path = scratch_path("checkpoint-4.h5");
    hid_t list = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_userblock(list, LS_SEAL_SIZE);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, list, access);
    assert_true(file > 0);
    put_progress(file, how);
    put_text(file, how);
    put_weight(file, how);
    assert_true(H5Fclose(file) >= 0);
    H5Pclose(access);
    H5Pclose(list);
    bytes made = read_bytes(path);
    ls_seal_write(made.data, made.size, "checkpoint", 1);
    write_bytes(path, made.data, made.size);
    free(made.data);
    return path;
}

static void what_opening_refuses(void **state) {
    (void)state;
    static const struct {
        trick how;
        const char *words;
    } cases[] = {
        {STEP_TOO_LARGE, "attribute step: found 9007199254740992, expected at most 9007199254740991"},
        {FINISHED_TWICE, "attribute finished: found 2, expected at most 1"},
        {SEED_IS_FLOAT, "attribute seed: found f64, expected u64 scalar"},
        {SEED_IS_SIGNED, "attribute seed: found i64, expected u64 scalar"},
        {SEED_IS_ARRAY, "attribute seed: found u64 array, expected u64 scalar"},
        {NO_SEED, "progress: found no attribute seed"},
        {PROGRESS_IS_DATASET, "expected a group"},
        {NO_PROGRESS, "found nothing at progress"},
        {TEXT_VARIABLE, "config/yaml: found a string of variable length"},
        {TEXT_LIST, "config/yaml: found string array"},
        {TEXT_LONG, "found a text of 1048577 bytes, expected at most 1048576"},
        {TEXT_NUL, "found control characters"},
        {TEXT_ESCAPE, "found control characters"},
        {TEXT_C1, "found control characters"},
        {TEXT_NOT_UTF8, "broken UTF-8"},
        {TEXT_OVERLONG, "broken UTF-8"},
        {TEXT_IS_NUMBER, "found u64, expected one string"},
        {NO_TEXT, "found nothing at config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(make_file(cases[i].how), cases[i].words);
}

static void what_reading_refuses(void **state) {
    (void)state;
    static const char *const words[TRICKS] = {
        [SOFT_LINK] = "found a soft or external link at model/w",
        [SOFT_GROUP] = "found a soft or external link at model,",
        [EXTERNAL_LINK] = "found a soft or external link at model/w",
        [BIG_ENDIAN] = "found float [2, 3], expected f32 [2, 3]",
        [COMPOUND] = "found compound [2, 3], expected f32 [2, 3]",
        [VARIABLE_LENGTH] = "found variable-length [2, 3], expected f32 [2, 3]",
        [DEFLATE] = "found filter 1, expected none but Fletcher32",
        [SHUFFLE] = "found filter 2, expected none but Fletcher32",
        [EXTERNAL_FILE] = "found data in external files",
        [VIRTUAL] = "found layout 3, expected compact, contiguous or chunked",
        [NEVER_WRITTEN] = "found fewer bytes stored than its shape has",
        [HUGE_SHAPE] = "found f32 [1099511627776, 1048576], expected f32 [2, 3]",
        [HUGE_CHUNK] = "found chunks larger than the file",
        [NULL_SPACE] = "found an array of unusual shape",
        [FIVE_DIMENSIONS] = "found an array of unusual shape",
    };
    for (trick how = NONE; how < TRICKS; how++) {
        const char *path = make_file(how);
        float data[2][3] = {{0}};
        ls_record record = {"model/w", LS_RECORD_F32, 2, {2, 3}, data};
        ls_checkpoint *checkpoint = NULL;
        if (ls_checkpoint_open(path, &checkpoint) != LS_OK) fail_msg("%s", ls_error_message());
        ls_status status = ls_checkpoint_read(checkpoint, &record);
        assert_int_equal(status, how == NONE ? LS_OK : LS_BAD_DATA);
        if (how == NONE)
            assert_memory_equal(data, weight, sizeof data);
        else if (!strstr(ls_error_message(), words[how]))
            fail_msg("\"%s\" lacks \"%s\"", ls_error_message(), words[how]);
        ls_checkpoint_close(&checkpoint);
    }
}

/* A caller that asks for what the file says, however large, gets a refusal before anything of that size is
 * read. */
static void sizes_beyond_the_file_are_refused(void **state) {
    (void)state;
    ls_checkpoint *checkpoint = NULL;
    ls_record record = {"model/w", LS_RECORD_F32, 2, {(int64_t)1 << 40, (int64_t)1 << 20}, NULL};
    assert_int_equal(ls_checkpoint_open(make_file(HUGE_SHAPE), &checkpoint), LS_OK);
    assert_int_equal(ls_checkpoint_read(checkpoint, &record), LS_BAD_DATA);
    assert_non_null(strstr(ls_error_message(), "found a shape larger than the file"));
    ls_checkpoint_close(&checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_truncation_is_refused, scratch_clear),
        cmocka_unit_test_setup(every_flipped_bit_is_refused, scratch_clear),
        cmocka_unit_test_setup(what_is_no_checkpoint_is_refused, scratch_clear),
        cmocka_unit_test_setup(what_opening_refuses, scratch_clear),
        cmocka_unit_test_setup(what_reading_refuses, scratch_clear),
        cmocka_unit_test_setup(sizes_beyond_the_file_are_refused, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
