/* Atomic files under faults: every file call of a write fails, or is the last one of its process. The linker
 * puts the functions below between the library and the C library (-Wl,--wrap). */
#include "io/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/scratch.h"

/* ---- the calls between ---- */

typedef enum fault {
    NO_FAULT,
    FAIL,        /* the call at `at` fails with `error` */
    KILL,        /* the process ends before the call */
    TEAR,        /* the process ends after the call; of a write, after half of it */
    INTERRUPT,   /* every second call fails with EINTR */
    SHORT_WRITE, /* every write writes at most 100 bytes */
    WRONG_BYTES, /* reading back gives other bytes */
} fault;

static struct {
    fault how;
    int at, error, calls;
} plan;

enum { KILLED = 99, PIECE = 100 };

/* Counts a call; 1: it is to fail. */
static int strikes(void) {
    int number = plan.calls++;
    if (plan.how == KILL && number == plan.at) _exit(KILLED);
    if (plan.how == INTERRUPT && number % 2 == 0) {
        errno = EINTR;
        return 1;
    }
    errno = plan.error;
    return plan.how == FAIL && number == plan.at;
}

static void strikes_after(void) {
    if (plan.how == TEAR && plan.calls - 1 == plan.at) _exit(KILLED);
}

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size);
ssize_t __real_read(int fd, void *data, size_t size);
int __wrap_fsync(int fd);
int __real_fsync(int fd);
int __wrap_close(int fd);
int __real_close(int fd);
int __wrap_rename(const char *from, const char *to);
int __real_rename(const char *from, const char *to);

int __wrap_open(const char *path, int flags, ...) {
    if (strikes()) return -1;
    int fd = __real_open(path, flags, 0666);
    strikes_after();
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    if (strikes()) return -1;
    if (plan.how == SHORT_WRITE && size > PIECE) size = PIECE;
    if (plan.how == TEAR && plan.calls - 1 == plan.at) size /= 2;
    ssize_t written = __real_write(fd, data, size);
    strikes_after();
    return written;
}

ssize_t __wrap_read(int fd, void *data, size_t size) {
    if (strikes()) return -1;
    ssize_t got = __real_read(fd, data, size);
    if (plan.how == WRONG_BYTES && got > 0) ((unsigned char *)data)[got / 2] ^= 1;
    strikes_after();
    return got;
}

int __wrap_fsync(int fd) {
    if (strikes()) return -1;
    int result = __real_fsync(fd);
    strikes_after();
    return result;
}

/* A close that fails has closed all the same, as on Linux. */
int __wrap_close(int fd) {
    int failed = strikes(), error = errno;
    int result = __real_close(fd);
    strikes_after();
    errno = error;
    return failed ? -1 : result;
}

int __wrap_rename(const char *from, const char *to) {
    /* POSIX knows no interrupted rename. */
    if (strikes() && plan.how != INTERRUPT) return -1;
    int result = __real_rename(from, to);
    strikes_after();
    return result;
}

/* ---- the tests ---- */

enum { SIZE = 1000 };
static unsigned char old_bytes[SIZE], new_bytes[SIZE + 500];

static int setup(void **state) {
    plan.how = NO_FAULT;
    for (int i = 0; i < SIZE; i++) old_bytes[i] = (unsigned char)i;
    for (int i = 0; i < SIZE + 500; i++) new_bytes[i] = (unsigned char)(i * 7 + 1);
    return scratch_clear(state);
}

static void put_old(const char *path) {
    plan.how = NO_FAULT;
    assert_int_equal(ls_atomic_write(path, old_bytes, sizeof old_bytes, LS_READ_ONLY), LS_OK);
}

/* Writes the new bytes under a fault. */
static ls_status put_new(const char *path, fault how, int at, int error) {
    plan.how = how;
    plan.at = at;
    plan.error = error;
    plan.calls = 0;
    ls_status status = ls_atomic_write(path, new_bytes, sizeof new_bytes, LS_READ_ONLY);
    plan.how = NO_FAULT;
    return status;
}

/* 0: the old file whole, 1: the new one whole; fails the test on anything else. */
static int which(const char *path) {
    bytes now = read_bytes(path);
    int is_old = now.size == sizeof old_bytes && memcmp(now.data, old_bytes, now.size) == 0;
    int is_new = now.size == sizeof new_bytes && memcmp(now.data, new_bytes, now.size) == 0;
    free(now.data);
    if (!is_old && !is_new) fail_msg("%s is neither the old file nor the new one", path);
    return is_new;
}

static int count_calls(const char *path) {
    put_old(path);
    assert_int_equal(put_new(path, NO_FAULT, 0, 0), LS_OK);
    return plan.calls;
}

static void every_call_that_fails_is_reported(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EROFS};
    const char *path = scratch_path("file");
    int calls = count_calls(path), kept_old = 0;
    for (int e = 0; e < 3; e++) {
        for (int at = 0; at < calls; at++) {
            put_old(path);
            assert_int_equal(put_new(path, FAIL, at, errors[e]), LS_OUTPUT);
            assert_non_null(strstr(ls_error_message(), scratch_folder()));
            assert_non_null(strstr(ls_error_message(), strerror(errors[e])));
            kept_old += which(path) == 0;
            assert_int_equal(count_files("."), 0);
            assert_int_equal(count_files("file"), 1);
        }
    }
    /* Only the three calls on the folder come after the rename. */
    assert_int_equal(kept_old, 3 * (calls - 3));
    print_message("%d file calls, 3 errors each\n", calls);
}

static void a_writer_killed_at_every_call_leaves_a_whole_file(void **state) {
    (void)state;
    const char *path = scratch_path("file");
    int calls = count_calls(path), news = 0, leftovers = 0;
    for (int i = 0; i < 2 * calls; i++) {
        put_old(path);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(put_new(path, i % 2 ? TEAR : KILL, i / 2, 0) == LS_OK ? 0 : 1);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == KILLED);
        news += which(path);
        leftovers += count_files(".tmp-");
        assert_int_equal(ls_atomic_sweep(scratch_folder(), false), LS_OK);
        assert_int_equal(count_files(".tmp-"), 0);
        (void)which(path);
    }
    /* New from the rename itself on: its torn half, and both of the three calls on the folder. */
    assert_int_equal(news, 1 + 2 * 3);
    assert_true(leftovers > calls);
    print_message("%d kills, %d temporary files left and swept\n", 2 * calls, leftovers);
}

static void interruptions_and_short_writes_do_no_harm(void **state) {
    (void)state;
    const char *path = scratch_path("file");
    put_old(path);
    assert_int_equal(put_new(path, INTERRUPT, 0, 0), LS_OK);
    assert_int_equal(which(path), 1);
    put_old(path);
    assert_int_equal(put_new(path, SHORT_WRITE, 0, 0), LS_OK);
    assert_int_equal(which(path), 1);
    assert_int_equal(count_files("."), 0);
}

static void wrong_bytes_read_back_are_noticed(void **state) {
    (void)state;
    const char *path = scratch_path("file");
    put_old(path);
    assert_int_equal(put_new(path, WRONG_BYTES, 0, 0), LS_OUTPUT);
    assert_non_null(strstr(ls_error_message(), "read back other bytes"));
    assert_int_equal(which(path), 0);
    assert_int_equal(count_files(".tmp-"), 0);
}

static void a_leftover_of_our_own_number_is_replaced(void **state) {
    (void)state;
    char name[64];
    const char *path = scratch_path("file"), *victim = scratch_path("victim");
    snprintf(name, sizeof name, "file.tmp-%ld", (long)getpid());
    write_bytes(victim, old_bytes, sizeof old_bytes);
    assert_int_equal(symlink(victim, scratch_path(name)), 0);
    assert_int_equal(put_new(path, NO_FAULT, 0, 0), LS_OK);
    assert_int_equal(which(path), 1);
    assert_int_equal(which(victim), 0); /* the link was not followed */
    assert_int_equal(count_files(".tmp-"), 0);
}

static void sweep_takes_only_what_the_dead_left(void **state) {
    (void)state;
    char dead[64], alive[64], own[64];
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    snprintf(dead, sizeof dead, "checkpoint-1.h5.tmp-%ld", (long)child);
    snprintf(alive, sizeof alive, "checkpoint-2.h5.tmp-%ld", (long)getppid());
    snprintf(own, sizeof own, "checkpoint-3.h5.tmp-%ld", (long)getpid());
    const char *const kept[] = {alive,     "a.tmp-",          "a.tmp-12x",
                                "a.tmp-0", "a.tmp--5",        "a.tmp-99999999999",
                                ".tmp-1",  "checkpoint-1.h5", "a.tmp-1.bak"};
    const int kept_count = sizeof kept / sizeof *kept;
    for (int i = 0; i < kept_count; i++) write_bytes(scratch_path(kept[i]), old_bytes, 1);
    write_bytes(scratch_path(dead), old_bytes, 1);
    write_bytes(scratch_path(own), old_bytes, 1);
    assert_int_equal(ls_atomic_sweep(scratch_folder(), false), LS_OK);
    for (int i = 0; i < kept_count; i++) assert_int_equal(access(scratch_path(kept[i]), F_OK), 0);
    assert_int_not_equal(access(scratch_path(dead), F_OK), 0);
    assert_int_not_equal(access(scratch_path(own), F_OK), 0);

    /* Numbers are used again: whoever holds the lock knows that the writer is gone. */
    assert_int_equal(ls_atomic_sweep(scratch_folder(), true), LS_OK);
    assert_int_not_equal(access(scratch_path(alive), F_OK), 0);
    for (int i = 1; i < kept_count; i++) assert_int_equal(access(scratch_path(kept[i]), F_OK), 0);

    assert_int_equal(ls_atomic_sweep(scratch_path("none"), false), LS_OUTPUT);
    assert_non_null(strstr(ls_error_message(), "none: cannot list the folder"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_call_that_fails_is_reported, setup),
        cmocka_unit_test_setup(a_writer_killed_at_every_call_leaves_a_whole_file, setup),
        cmocka_unit_test_setup(interruptions_and_short_writes_do_no_harm, setup),
        cmocka_unit_test_setup(wrong_bytes_read_back_are_noticed, setup),
        cmocka_unit_test_setup(a_leftover_of_our_own_number_is_replaced, setup),
        cmocka_unit_test_setup(sweep_takes_only_what_the_dead_left, setup),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
