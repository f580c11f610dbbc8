/* Thousands of files that were made to break HDF5, read as inspect, diff and resume read them: whatever comes
 * of it is a status that says bad data or a sound result. Any signal ends this test, any hang its time-out.
 *
 *   test_hostile COUNT FILE...    so many files made of each; LOCKSTEP_HOSTILE=N multiplies
 *   test_hostile values FILE      changes a value in the file itself, and seals it again */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inspect/subject.h"
#include "io/hostile.h"
#include "io/scratch.h"

typedef struct tally {
    long sound, refused, crashed, limited;
} tally;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 0 if the file is read or refused as it should be. */
static int read_one(const char *path, tally *t) {
    ls_subject subject;
    ls_status status = ls_subject_read(path, &subject);
    const char *why = ls_error_message();
    if (status == LS_OK) {
        t->sound++;
        ls_subject_destroy(&subject);
        return 0;
    }
    if (status != LS_BAD_DATA || !strstr(why, path)) {
        fprintf(stderr, "%s: status %d: %s\n", path, (int)status, why);
        return 1;
    }
    if (strstr(why, "HDF5 crashed") || strstr(why, "HDF5 broke off"))
        t->crashed++;
    else if (strstr(why, "processor time") || strstr(why, "come to an end"))
        t->limited++;
    else
        t->refused++;
    return 0;
}

static int try_file(const char *sound, long count) {
    bytes file = read_bytes(sound);
    unsigned char *changed = malloc(file.size);
    structure *list;
    tally t = {0};
    int failures = 0, structures = hostile_structures(file.data, file.size, &list);
    const char *path = scratch_path(strrchr(sound, '/') + 1);
    double start = now(), longest = 0;
    size_t covered = 0;
    if (!changed) exit(70);
    for (int i = 0; i < structures; i++) covered += list[i].end - list[i].begin;
    /* Of a file without any structure nothing would be tried; and the sound one must be read. */
    if (structures < 10) {
        fprintf(stderr, "%s: found %d structures of HDF5, expected more\n", sound, structures);
        return 1;
    }
    write_bytes(path, file.data, file.size);
    failures += read_one(path, &t);
    if (t.sound != 1) {
        fprintf(stderr, "%s: is not read as it is: %s\n", sound, ls_error_message());
        failures++;
    }
    t.sound = 0;
    for (long i = 0; i < count && failures < 10; i++) {
        double before = now();
        memcpy(changed, file.data, file.size);
        hostile_change(changed, file.size, list, structures, (uint64_t)i);
        write_bytes(path, changed, file.size);
        failures += read_one(path, &t);
        if (now() - before > longest) longest = now() - before;
    }
    printf("%s: %d structures of %zu bytes; %ld files in %.1f s, the slowest %.2f s: %ld refused, %ld read, "
           "HDF5 "
           "crashed on %ld, reached a limit on %ld\n",
           strrchr(sound, '/') + 1, structures, covered, count, now() - start, longest, t.refused, t.sound,
           t.crashed, t.limited);
    free(list);
    free(changed);
    free(file.data);
    return failures;
}

static void change_values(const char *path) {
    bytes file = read_bytes(path);
    structure *list;
    int structures = hostile_structures(file.data, file.size, &list);
    hostile_change_values(file.data, file.size, list, structures);
    write_bytes(path, file.data, file.size);
    free(list);
    free(file.data);
}

int main(int argc, char **argv) {
    const char *times = getenv("LOCKSTEP_HOSTILE");
    int failures = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: test_hostile COUNT|values FILE...\n");
        return 2;
    }
    if (strcmp(argv[1], "values") == 0) {
        change_values(argv[2]);
        return 0;
    }
    long count = atol(argv[1]) * (times ? atol(times) : 1);
    if (scratch_setup(NULL) != 0) return 70;
    for (int i = 2; i < argc; i++) failures += try_file(argv[i], count);
    if (scratch_teardown(NULL) != 0) failures++;
    return failures > 0;
}
