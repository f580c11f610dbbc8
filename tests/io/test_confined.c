/* The confined child can do nothing but answer: each call of the system that it tries fails, and whatever it
 * does instead of answering is a failure with the file's name here. */
#include "io/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/checkpoint.h"
#include "io/confined_trials.h"
#include "io/scratch.h"

static const ls_limits limits = {(uint64_t)512 << 20, 1, 1};
static bytes program;

static ls_confined *start(void) {
    ls_confined *child = NULL;
    const char *reason = NULL;
    assert_int_equal(ls_confined_start(program.data, program.size, "file.h5", &limits, &child, &reason),
                     LS_OK);
    if (reason) fail_msg("no child: %s", reason);
    return child;
}

static ls_status try(ls_confined *child, int what, const char *path, ls_answer *answer) {
    ls_question question = {.what = what};
    snprintf(question.path, sizeof question.path, "%s", path);
    return ls_confined_ask(child, &question, NULL, answer);
}

/* Ends the test as skipped where this system or build cannot confine. */
static void need_confinement(void) {
    ls_answer answer;
    ls_confined *child = start();
    assert_int_equal(try(child, TRY_NOTHING, "", &answer), LS_OK);
    ls_confined_end(&child);
    if (!answer.confined) {
        print_message("skipped: this system or build does not confine (no seccomp)\n");
        skip();
    }
}

static void what_it_tries_fails(void **state) {
    (void)state;
    static const struct {
        int what;
        const char *path, *name;
    } trials[] = {{TRY_OPEN, "/etc/passwd", "open"},
                  {TRY_CREATE, "/tmp/lockstep-confined-trial", "create"},
                  {TRY_REMOVE, "/tmp/lockstep-confined-trial", "remove"},
                  {TRY_STAT, "/", "look for a file"},
                  {TRY_READ_OTHER, "", "read from another descriptor"},
                  {TRY_WRITE_OTHER, "", "write to another descriptor"},
                  {TRY_SOCKET, "", "make a socket"},
                  {TRY_UNIX_SOCKET, "", "make a local socket"},
                  {TRY_CONNECT, "3", "connect"},
                  {TRY_SEND_ELSEWHERE, "3", "send"},
                  {TRY_FORK, "", "fork"},
                  {TRY_CLONE, "", "clone"},
                  {TRY_EXEC, "", "start a program"},
                  {TRY_KILL, "", "signal its parent"},
                  {TRY_CODE, "", "make code"}};
    need_confinement();
    ls_confined *child = start();
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        ls_answer answer;
        if (try(child, trials[i].what, trials[i].path, &answer) != LS_OK)
            fail_msg("%s: %s", trials[i].name, ls_error_message());
        if (answer.bits != EPERM) fail_msg("%s: error %d, not EPERM", trials[i].name, (int)answer.bits);
    }
    ls_confined_end(&child);
    print_message("%zu attempts refused\n", sizeof trials / sizeof *trials);
}

static void memory_has_a_limit(void **state) {
    (void)state;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    print_message("skipped: sanitizers map more memory than any limit\n");
    skip();
#endif
    ls_answer answer;
    ls_confined *child = start();
    assert_int_equal(try(child, TRY_MEMORY, "", &answer), LS_OK);
    assert_int_equal(answer.bits, ENOMEM);
    ls_confined_end(&child);
}

static void assert_lost(int what, const char *words) {
    ls_answer answer;
    ls_confined *child = start();
    for (int again = 0; again < 2; again++) {
        assert_int_equal(try(child, what, "", &answer), LS_BAD_DATA);
        if (strncmp(ls_error_message(), "file.h5: ", 9) != 0 || !strstr(ls_error_message(), words))
            fail_msg("\"%s\" lacks the file or \"%s\"", ls_error_message(), words);
    }
    ls_confined_end(&child);
    assert_null(child);
    ls_confined_end(&child);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left behind */
    assert_int_equal(errno, ECHILD);
}

static void its_crash_is_a_failure(void **state) {
    (void)state;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    assert_lost(TRY_CRASH, "HDF5 broke off (exit code "); /* the sanitizer ends it */
#else
    assert_lost(TRY_CRASH, "HDF5 crashed (Segmentation fault)");
#endif
}

static void its_loop_is_a_failure(void **state) {
    (void)state;
    ls_answer answer;
    const ls_limits patient = {limits.memory, 1, 60};
    ls_confined *child = NULL;
    const char *reason;
    assert_int_equal(ls_confined_start(program.data, program.size, "file.h5", &patient, &child, &reason),
                     LS_OK);
    assert_null(reason);
    assert_int_equal(try(child, TRY_SPIN, "", &answer), LS_BAD_DATA);
    assert_non_null(strstr(ls_error_message(), "took more than 1 s of processor time"));
    ls_confined_end(&child);
}

static void its_silence_is_a_failure(void **state) {
    (void)state;
    assert_lost(TRY_SILENCE, "did not come to an end within 1 s");
}

/* A pipe whose writing end only the child could still hold: it is at its end. */
static void it_inherits_nothing(void **state) {
    (void)state;
    int ends[2];
    char byte;
    ls_answer answer;
    assert_int_equal(pipe(ends), 0);
    ls_confined *child = start();
    assert_int_equal(try(child, TRY_NOTHING, "", &answer), LS_OK);
    close(ends[1]);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    ls_confined_end(&child);
}

static void signals_for_the_run_pass_it_by(void **state) {
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    ls_answer answer;
    assert_int_equal(setpgid(0, 0), 0);
    ls_confined *child = start();
    assert_int_equal(try(child, TRY_NOTHING, "", &answer), LS_OK);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        void (*before)(int) = signal(numbers[i], SIG_IGN);
        assert_int_equal(kill(0, numbers[i]), 0);
        signal(numbers[i], before);
    }
    assert_int_equal(try(child, TRY_NOTHING, "", &answer), LS_OK);
    ls_confined_end(&child);
}

/* ---- where there is no child ---- */

static const char *reason_of(const void *data, size_t size) {
    ls_confined *child = NULL;
    const char *reason = NULL;
    assert_int_equal(ls_confined_start(data, size, "file.h5", &limits, &child, &reason), LS_OK);
    assert_null(child);
    assert_non_null(reason);
    return reason;
}

static void a_program_that_cannot_start_is_told(void **state) {
    (void)state;
    assert_string_equal(reason_of("no program", 10), strerror(ENOEXEC));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Files may not be as large as the program (ulimit -f): no signal reaches us, and the file is read here. */
static void a_limit_of_files_is_told(void **state) {
    (void)state;
    struct rlimit before;
    ls_checkpoint *checkpoint = NULL;
    const ls_progress_mark mark = {.step = 1, .seed = 7};
    float values[3] = {1, 2, 3}, found[3] = {0};
    ls_record record = {"model/a", LS_RECORD_F32, 1, {3}, values};
    assert_int_equal(ls_checkpoint_write(scratch_folder(), &mark, "a: 1\n", &record, 1, NULL), LS_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, before.rlim_max}), 0);
    const char *reason = reason_of(program.data, program.size);
    ls_status status = ls_checkpoint_open(scratch_path("checkpoint-1.h5"), &checkpoint);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_string_equal(reason, strerror(EFBIG));
    if (status != LS_OK) fail_msg("%s", ls_error_message());
    assert_int_equal(ls_checkpoint_mark(checkpoint)->seed, 7);
    assert_string_equal(ls_checkpoint_config(checkpoint), "a: 1\n");
    record.data = found;
    assert_int_equal(ls_checkpoint_read(checkpoint, &record), LS_OK);
    assert_memory_equal(found, values, sizeof values);
    assert_int_equal(ls_checkpoint_length(checkpoint, "model/a"), 3);
    assert_int_equal(ls_checkpoint_length(checkpoint, "model/b"), -1);
    assert_int_equal(ls_checkpoint_check(checkpoint), LS_OK);
    ls_checkpoint_close(&checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_tries_fails),
        cmocka_unit_test(memory_has_a_limit),
        cmocka_unit_test(its_crash_is_a_failure),
        cmocka_unit_test(its_loop_is_a_failure),
        cmocka_unit_test(its_silence_is_a_failure),
        cmocka_unit_test(it_inherits_nothing),
        cmocka_unit_test(signals_for_the_run_pass_it_by),
        cmocka_unit_test(a_program_that_cannot_start_is_told),
        cmocka_unit_test_setup(a_limit_of_files_is_told, scratch_clear),
    };
    program = read_bytes(LS_TRIAL_PROGRAM);
    int failed = cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
    free(program.data);
    return failed;
}
