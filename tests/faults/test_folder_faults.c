/* The checkpoints of a folder under faults: every file call of a save and of the pruning after it fails, or
 * is the last one of its process. Whatever happens, the newest checkpoint that verifies is the one before or
 * the new one, and the best is there. The linker puts the functions below between the library and the C
 * library (-Wl,--wrap). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/scratch.h"
#include "layers/layer.h"
#include "train/checkpoints.h"

/* ---- the calls between ---- */

typedef enum fault { NO_FAULT, FAIL, KILL, TEAR } fault;

static struct {
    fault how;
    int at, error, calls, before_rename;
} plan;

enum { KILLED = 99 };

/* Counts a call; true: it is to fail. */
static bool strikes(void) {
    int number = plan.calls++;
    if (plan.how == KILL && number == plan.at) _exit(KILLED);
    if (plan.how != FAIL || number != plan.at) return false;
    errno = plan.error;
    return true;
}

static void strikes_after(void) {
    if (plan.how == TEAR && plan.calls - 1 == plan.at) _exit(KILLED);
}

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __real_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __real_fsync(int fd);
int __wrap_close(int fd);
int __real_close(int fd);
int __wrap_rename(const char *from, const char *to);
int __real_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __real_unlink(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__real_opendir(const char *path);

int __wrap_open(const char *path, int flags, ...) {
    if (strikes()) return -1;
    int fd = __real_open(path, flags, 0666);
    strikes_after();
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    if (strikes()) return -1;
    ssize_t written = __real_write(fd, data, plan.how == TEAR && plan.calls - 1 == plan.at ? size / 2 : size);
    strikes_after();
    return written;
}

int __wrap_fsync(int fd) {
    if (strikes()) return -1;
    int result = __real_fsync(fd);
    strikes_after();
    return result;
}

int __wrap_close(int fd) { /* a close that fails has closed all the same, as on Linux */
    bool fails = strikes();
    int error = errno, result = __real_close(fd);
    strikes_after();
    errno = error;
    return fails ? -1 : result;
}

int __wrap_rename(const char *from, const char *to) {
    plan.before_rename = plan.calls;
    if (strikes()) return -1;
    int result = __real_rename(from, to);
    strikes_after();
    return result;
}

int __wrap_unlink(const char *path) {
    if (strikes()) return -1;
    int result = __real_unlink(path);
    strikes_after();
    return result;
}

DIR *__wrap_opendir(const char *path) {
    if (strikes()) return NULL;
    DIR *result = __real_opendir(path);
    strikes_after();
    return result;
}

/* ---- a trainer, and its state after the steps 1 to 5 ---- */

enum { STEPS = 5, BEST = 1, KEEP = 2 };

static const char text[] = "split: 200\nbatch: 50\noptimizer: momentum\nkeep: 2\n"
                           "network: [flatten, batchnorm, {dense: {units: 10}}]\n";
static ls_comm *comm;
static ls_config *config;
static ls_trainer *trainer;
static ls_metrics *metrics;
static char *config_yaml;
static bytes files[STEPS + 1];

static const char *path_of(int step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%d.h5", step);
    return scratch_path(name);
}

static ls_status save(void) {
    return ls_checkpoints_save(scratch_folder(), trainer, config_yaml, metrics, &(ls_best){BEST, 1.0}, false);
}

static int group_setup(void **state) {
    static ls_layer_keys layers[LS_LAYER_CLASSES_MAX]; /* the configuration looks into it */
    char setting[4096];
    const char *settings[] = {setting};
    const char *data = getenv("LOCKSTEP_MADE_DATA");
    if (!data || scratch_setup(state) != 0) return -1;
    snprintf(setting, sizeof setting, "data=%s", data);
    ls_network_layer_keys(layers);
    assert_int_equal(ls_comm_create_self(&comm), LS_OK);
    assert_int_equal(ls_config_parse("small", text, sizeof text - 1, &ls_option_keys, layers,
                                     ls_layer_class_count, &config),
                     LS_OK);
    assert_int_equal(ls_config_override(config, settings, 1), LS_OK);
    assert_int_equal(ls_config_resolve_result(config, &config_yaml), LS_OK);
    assert_int_equal(ls_trainer_create(comm, config, &trainer), LS_OK);
    assert_int_equal(ls_metrics_create(scratch_folder(), config_yaml, NULL, 0, NULL, 0, &metrics), LS_OK);
    for (int step = 1; step <= STEPS; step++) {
        assert_int_equal(ls_train_step(trainer), LS_OK);
        assert_int_equal(save(), LS_OK);
        files[step] = read_bytes(path_of(step));
    }
    return 0;
}

static int group_teardown(void **state) {
    for (int step = 1; step <= STEPS; step++) free(files[step].data);
    ls_metrics_destroy(&metrics);
    ls_trainer_destroy(&trainer);
    free(config_yaml);
    ls_config_destroy(&config);
    ls_comm_destroy(&comm);
    return scratch_teardown(state);
}

/* The folder as it is before the last save: the best, and the newest two. */
static void restore_folder(void) {
    static const int there[] = {BEST, STEPS - 2, STEPS - 1};
    plan.how = NO_FAULT;
    scratch_clear(NULL);
    for (int i = 0; i < 3; i++) write_bytes(path_of(there[i]), files[there[i]].data, files[there[i]].size);
    plan.calls = 0;
}

static bool holds(int step) {
    plan.how = NO_FAULT;
    if (access(path_of(step), F_OK) != 0) return false;
    bytes now = read_bytes(path_of(step));
    bool same = now.size == files[step].size && memcmp(now.data, files[step].data, now.size) == 0;
    free(now.data);
    if (!same) fail_msg("checkpoint %d is not what was written", step);
    return true;
}

/* Resumes from the newest good one; its step. */
static int resume(void) {
    ls_checkpoint *checkpoint = NULL;
    ls_resumed resumed;
    plan.how = NO_FAULT;
    assert_int_equal(ls_checkpoints_find(scratch_folder(), "auto", &checkpoint), LS_OK);
    assert_non_null(checkpoint);
    assert_int_equal(ls_checkpoints_load(checkpoint, trainer, config_yaml, metrics, &resumed), LS_OK);
    ls_checkpoint_close(&checkpoint);
    return (int)resumed.mark.step;
}

/* What must hold after any fault; the step that a run goes on from. */
static int check_folder(void) {
    int count = 0;
    for (int step = 1; step <= STEPS; step++) count += holds(step);
    assert_int_equal(count, count_files("checkpoint-") - count_files(".tmp-"));
    assert_true(holds(BEST));
    assert_true(holds(STEPS - 1));
    int newest = resume();
    assert_int_equal(newest, holds(STEPS) ? STEPS : STEPS - 1);
    return newest;
}

static int count_calls(void) {
    restore_folder();
    assert_int_equal(save(), LS_OK);
    int calls = plan.calls;
    assert_int_equal(count_files("checkpoint-"), KEEP + 1);
    assert_false(holds(STEPS - 2));
    return calls;
}

static void a_save_killed_at_every_call_leaves_the_old_or_the_new(void **state) {
    (void)state;
    int calls = count_calls(), news = 0, torn = 0;
    for (int i = 0; i < 2 * calls; i++) {
        restore_folder();
        plan.how = i % 2 ? TEAR : KILL;
        plan.at = i / 2;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(save() == LS_OK ? 0 : 1);
        plan.how = NO_FAULT;
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == KILLED);
        torn += count_files(".tmp-");
        news += check_folder() == STEPS;
    }
    assert_true(news > 2 && news < 2 * calls - 2);
    assert_true(torn > 4);
    print_message("%d kills: %d times the new one, %d times the one before; %d temporary files\n", 2 * calls,
                  news, 2 * calls - news, torn);
}

static void every_failure_is_reported_and_harms_nothing(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    int calls = count_calls(), rename_at = plan.before_rename;
    for (int i = 0; i < 2 * calls; i++) {
        restore_folder();
        plan.how = FAIL;
        plan.at = i / 2;
        plan.error = errors[i % 2];
        assert_int_equal(save(), LS_OUTPUT);
        plan.how = NO_FAULT;
        assert_non_null(strstr(ls_error_message(), scratch_folder()));
        assert_non_null(strstr(ls_error_message(), strerror(errors[i % 2])));
        assert_int_equal(count_files(".tmp-"), 0);
        assert_int_equal(check_folder(), plan.at <= rename_at ? STEPS - 1 : STEPS);
    }
    print_message("%d calls, 2 errors each\n", calls);
}

/* What is newer but not good does not count among those to keep. */
static void bad_newer_ones_do_not_cost_a_good_one(void **state) {
    (void)state;
    restore_folder();
    write_bytes(scratch_path("checkpoint-8.h5"), files[1].data, files[1].size - 1);
    write_bytes(scratch_path("checkpoint-9.h5"), files[1].data, files[1].size - 1);
    assert_int_equal(save(), LS_OK);
    assert_true(holds(STEPS));
    assert_true(holds(STEPS - 1));
    assert_int_equal(resume(), STEPS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_save_killed_at_every_call_leaves_the_old_or_the_new),
        cmocka_unit_test(every_failure_is_reported_and_harms_nothing),
        cmocka_unit_test(bad_newer_ones_do_not_cost_a_good_one),
    };
    if (!getenv("LOCKSTEP_MADE_DATA")) return 77;
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
