/* What tests of files share: a folder of their own, whole files in memory, other programs. */
#ifndef LOCKSTEP_TESTS_IO_SCRATCH_H
#define LOCKSTEP_TESTS_IO_SCRATCH_H

#include <stddef.h>

typedef struct bytes {
    unsigned char *data;
    size_t size;
} bytes;

/* Group fixtures of cmocka: a new empty folder under TMPDIR or /tmp, removed with what is in it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* Removes the files in it. */
int scratch_clear(void **state);
const char *scratch_folder(void);
/* FOLDER/name; valid until the eighth next call. */
const char *scratch_path(const char *name);

/* Fail the test if they cannot. */
bytes read_bytes(const char *path);
void write_bytes(const char *path, const unsigned char *data, size_t size);
/* Files in the folder whose name contains `part`. */
int count_files(const char *part);

/* Runs a shell command; its exit code. */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
