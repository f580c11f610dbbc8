/* Checkpoints when memory runs out: each allocation of the library's own fails once (-Wl,--wrap), in writing
 * and in reading; what went before is whole, nothing leaks, and the next attempt succeeds. */
#include "io/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/scratch.h"

static int calls, failing = -1;

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__real_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
char *__real_strndup(const char *text, size_t size);

static int strikes(void) {
    errno = ENOMEM;
    return calls++ == failing;
}

void *__wrap_malloc(size_t size) {
    return strikes() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return strikes() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text) {
    return strikes() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size) {
    return strikes() ? NULL : __real_strndup(text, size);
}

enum { LENGTH = 1 << 20 };
static float values[LENGTH];

static ls_status write_one(uint64_t seed) {
    const ls_progress_mark mark = {.step = 1, .seed = seed};
    const ls_record records[] = {{"model/a", LS_RECORD_F32, 1, {LENGTH}, values},
                                 {"optimizer/m/a", LS_RECORD_F32, 2, {1024, 1024}, values}};
    return ls_checkpoint_write(scratch_folder(), &mark, "a: 1\n", records, 2, NULL);
}

/* Opens, reads a record, and gives the seed. */
static ls_status read_one(uint64_t *seed) {
    ls_checkpoint *checkpoint = NULL;
    ls_record record = {"model/a", LS_RECORD_F32, 1, {LENGTH}, values};
    ls_status status = ls_checkpoint_open(scratch_path("checkpoint-1.h5"), &checkpoint);
    if (status == LS_OK) *seed = ls_checkpoint_mark(checkpoint)->seed;
    if (status == LS_OK) status = ls_checkpoint_read(checkpoint, &record);
    ls_checkpoint_close(&checkpoint);
    return status;
}

static int count_calls(ls_status (*what)(uint64_t *), uint64_t *seed) {
    calls = 0;
    assert_int_equal(what(seed), LS_OK);
    return calls;
}

static ls_status write_by_pointer(uint64_t *seed) {
    return write_one(*seed);
}

static void every_allocation_of_writing(void **state) {
    (void)state;
    uint64_t old = 1, new = 2, found = 0;
    const int count = count_calls(write_by_pointer, &old);
    for (int n = 0; n < count; n++) {
        calls = 0;
        failing = n;
        ls_status status = write_one(new);
        failing = -1;
        /* Reading back reports what it cannot read as output. After the rename the new file is there. */
        assert_true(status == LS_INTERNAL || status == LS_OUTPUT);
        assert_non_null(strstr(ls_error_message(), "memory"));
        assert_int_equal(count_files(".tmp-"), 0);
        assert_int_equal(read_one(&found), LS_OK);
        assert_true(found == old || (found == new &&n == count - 1));
        assert_int_equal(write_one(old), LS_OK);
    }
    print_message("%d allocations\n", count);
}

static void every_allocation_of_reading(void **state) {
    (void)state;
    uint64_t seed = 0;
    assert_int_equal(write_one(5), LS_OK);
    const int count = count_calls(read_one, &seed);
    for (int n = 0; n < count; n++) {
        calls = 0;
        failing = n;
        ls_status status = read_one(&seed);
        failing = -1;
        assert_int_equal(status, LS_INTERNAL);
        assert_non_null(strstr(ls_error_message(), "memory"));
    }
    print_message("%d allocations\n", count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_allocation_of_writing, scratch_clear),
        cmocka_unit_test_setup(every_allocation_of_reading, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
