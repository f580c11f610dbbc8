/* Memory that control groups allow, read from trees of files as the kernel shows them (man 7 cgroups, man 5 proc). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/memory_limit.h"
#include "io/scratch.h"

enum { MACHINE = 1000000 };

static void put(const char *root, const char *path, const char *text) {
    char full[8192];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    assert_true(length > 0 && (size_t)length < sizeof full);
    for (char *slash = full + strlen(root); (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        (void)mkdir(full, 0777);
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect(const char *root, uint64_t limit, const char *who) {
    ls_memory_limit found = ls_memory_limit_of(root, MACHINE);
    assert_int_equal(found.bytes, limit);
    assert_string_equal(found.who, who);
}

static const char unified[] =
    "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_version_2(void **state) {
    const char *root = *state;
    put(root, "/proc/self/mountinfo", unified);
    put(root, "/proc/self/cgroup", "0::/job/step\n");
    put(root, "/sys/fs/cgroup/job/step/memory.max", "max\n");
    expect(root, MACHINE, "the machine");
    put(root, "/sys/fs/cgroup/job/memory.max", "7000\n"); /* of a group around it */
    expect(root, 7000, "its control group");
    put(root, "/sys/fs/cgroup/job/step/memory.max", "5000\n");
    expect(root, 5000, "its control group");
    put(root, "/sys/fs/cgroup/job/step/memory.max", "2000000\n");
    put(root, "/sys/fs/cgroup/job/memory.max", "3000000\n");
    expect(root, MACHINE, "the machine");
}

/* A container sees its own group mounted, and is told the path of the host or none. */
static void test_container(void **state) {
    const char *root = *state;
    put(root, "/proc/self/mountinfo",
        "30 24 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n");
    put(root, "/proc/self/cgroup", "0::/docker/abc\n");
    put(root, "/sys/fs/cgroup/memory.max", "4000\n");
    expect(root, 4000, "its control group");
    put(root, "/proc/self/cgroup", "0::/\n");
    expect(root, 4000, "its control group");
}

static void test_version_1(void **state) {
    const char *root = *state;
    put(root, "/proc/self/mountinfo",
        "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 24 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:12 - cgroup cgroup rw,memory\n");
    put(root, "/proc/self/cgroup", "12:cpuset,cpu:/other\n9:memory:/slurm/job_7\n0::/\n");
    put(root, "/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    expect(root, MACHINE, "the machine");
    put(root, "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "6000\n");
    expect(root, 6000, "its control group");
}

static void test_nothing_known(void **state) {
    const char *root = *state;
    expect(root, MACHINE, "the machine");
    put(root, "/proc/self/mountinfo", "no mounts\n - \n");
    put(root, "/proc/self/cgroup", "::\n0\n0::/x\n");
    expect(root, MACHINE, "the machine");
    /* this machine has some */
    assert_true(ls_memory_limit_find().bytes > MACHINE);
}

static int setup(void **state) {
    int failed = scratch_setup(state);
    *state = (void *)scratch_folder();
    return failed;
}

static int teardown(void **state) {
    return run("rm -rf '%s/proc' '%s/sys'", scratch_folder(), scratch_folder()) || scratch_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_container, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
