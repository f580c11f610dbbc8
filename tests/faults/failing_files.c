/* A library to be preloaded (LD_PRELOAD) into the real program: makes file calls below one folder fail, be
 * the last ones of their process, or take long. It is asked by the environment: FAILING_FILES_FOLDER   only
 * files whose path begins with this count FAILING_FILES_AT       the call, counted from 1, that is struck; 0
 * or not set: none FAILING_FILES_HOW      a number: the call fails with this errno; kill: the process ends
 * before the call; tear: the process ends after it, of a write after half of it FAILING_FILES_DELAY
 * milliseconds that each fsync takes longer FAILING_FILES_HOLD     each fsync waits until there is no such
 * file FAILING_FILES_COUNT    at exit, the number of calls goes into this file */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FDS = 1024 };

/* Files of the folder are touched by one thread. */
static bool ours[FDS];
static long calls;

/* dlsym gives an object pointer; ISO C knows no way from there to a function but through memory. */
static void find(const char *name, void *function) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) abort();
    memcpy(function, &symbol, sizeof symbol);
}

static long number(const char *variable) {
    const char *text = getenv(variable);
    return text ? strtol(text, NULL, 10) : 0;
}

static bool below(const char *path) {
    const char *folder = getenv("FAILING_FILES_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static bool is_ours(int fd) {
    return fd >= 0 && fd < FDS && ours[fd];
}

static bool how(const char *word) {
    const char *text = getenv("FAILING_FILES_HOW");
    return text && strcmp(text, word) == 0;
}

static bool struck(void) {
    return calls == number("FAILING_FILES_AT");
}

/* Counts a call; true: it is to fail, and errno says how. */
static bool strikes(void) {
    calls++;
    if (!struck()) return false;
    if (how("kill")) raise(SIGKILL);
    errno = (int)number("FAILING_FILES_HOW");
    return errno != 0;
}

static void strikes_after(void) {
    if (struck() && how("tear")) raise(SIGKILL);
}

static int open_file(int (*next)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!below(path)) return next(path, flags, mode);
    if (strikes()) return -1;
    int fd = next(path, flags, mode);
    if (fd >= 0 && fd < FDS) ours[fd] = true;
    strikes_after();
    return fd;
}

int open(const char *path, int flags, ...) {
    static int (*next)(const char *, int, ...);
    if (!next) find("open", &next);
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_file(next, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    static int (*next)(const char *, int, ...);
    if (!next) find("open64", &next);
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_file(next, path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) find("write", &next);
    if (!is_ours(fd)) return next(fd, data, size);
    if (strikes()) return -1;
    ssize_t written = next(fd, data, struck() && how("tear") ? size / 2 : size);
    strikes_after();
    return written;
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) find("fsync", &next);
    if (!is_ours(fd)) return next(fd);
    if (strikes()) return -1;
    const char *hold = getenv("FAILING_FILES_HOLD");
    while (hold && access(hold, F_OK) == 0) nanosleep(&(struct timespec){0, 10000000}, NULL);
    long delay = number("FAILING_FILES_DELAY");
    struct timespec left = {delay / 1000, delay % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
    int result = next(fd);
    strikes_after();
    return result;
}

int close(int fd) {
    static int (*next)(int);
    if (!next) find("close", &next);
    if (!is_ours(fd)) return next(fd);
    ours[fd] = false;
    bool fails = strikes();
    int error = errno;
    int result = next(fd); /* a close that fails has closed the file all the same, on Linux */
    strikes_after();
    errno = fails ? error : errno;
    return fails ? -1 : result;
}

int rename(const char *from, const char *to) {
    static int (*next)(const char *, const char *);
    if (!next) find("rename", &next);
    if (!below(from)) return next(from, to);
    if (strikes()) return -1;
    int result = next(from, to);
    strikes_after();
    return result;
}

int unlink(const char *path) {
    static int (*next)(const char *);
    if (!next) find("unlink", &next);
    if (!below(path)) return next(path);
    if (strikes()) return -1;
    int result = next(path);
    strikes_after();
    return result;
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("FAILING_FILES_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", calls);
    fclose(file);
}
