#include "io/scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];

int scratch_setup(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/lockstep-test-XXXXXX", base && base[0] ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

int scratch_clear(void **state) {
    (void)state;
    DIR *handle = opendir(folder);
    if (!handle) return -1;
    const struct dirent *entry;
    while ((entry = readdir(handle)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(handle), entry->d_name, 0);
    return closedir(handle);
}

int scratch_teardown(void **state) {
    (void)scratch_clear(state);
    return rmdir(folder);
}

const char *scratch_folder(void) {
    return folder;
}

const char *scratch_path(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

bytes read_bytes(const char *path) {
    struct stat info;
    bytes out = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) fail_msg("cannot read %s", path);
    out.size = (size_t)info.st_size;
    out.data = malloc(out.size + 1);
    assert_non_null(out.data);
    assert_int_equal(fread(out.data, 1, out.size, file), out.size);
    assert_int_equal(fclose(file), 0);
    return out;
}

void write_bytes(const char *path, const unsigned char *data, size_t size) {
    (void)unlink(path); /* files of ours are read-only */
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

int count_files(const char *part) {
    int count = 0;
    DIR *handle = opendir(folder);
    assert_non_null(handle);
    const struct dirent *entry;
    while ((entry = readdir(handle)))
        if (entry->d_name[0] != '.' && strstr(entry->d_name, part)) count++;
    closedir(handle);
    return count;
}

int run(const char *format, ...) {
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
