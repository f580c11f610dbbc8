#include "io/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

#define TEMPORARY ".tmp-"

static ls_status fail(const char *path, const char *what) {
    struct rlimit most;
    if (errno == EFBIG && getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY)
        return ls_fail(LS_OUTPUT, "%s: cannot %s: a file may have %llu bytes at most here (ulimit -f)", path,
                       what, (unsigned long long)most.rlim_cur);
    return ls_fail(LS_OUTPUT, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* After a successful fsync, a close that a signal interrupted has lost nothing, and Linux has closed it. */
static int close_checked(int fd) {
    return close(fd) != 0 && errno != EINTR ? -1 : 0;
}

static int fsync_checked(int fd) {
    int result;
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

static int open_checked(const char *path, int flags, mode_t permissions) {
    int fd;
    do fd = open(path, flags | O_CLOEXEC, permissions);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int write_all(int fd, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -1;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

/* 0: equal, 1: not, -1: cannot be read. */
static int compare_all(int fd, const unsigned char *data, size_t size) {
    static const size_t piece = 1 << 16;
    unsigned char *buffer = malloc(piece);
    int result = buffer ? 0 : -1;
    size_t done = 0;
    while (result == 0) {
        ssize_t got = read(fd, buffer, piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) result = -1;
        if (got <= 0) break;
        if ((size_t)got > size - done || memcmp(buffer, data + done, (size_t)got) != 0) result = 1;
        done += (size_t)got;
    }
    if (result == 0 && done != size) result = 1;
    free(buffer);
    return result;
}

/* A file of this name with our number belongs to a dead namesake: we are the only writer and have not begun.
 */
static int create_new(const char *temporary, mode_t permissions) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    int fd = open_checked(temporary, flags, permissions);
    if (fd < 0 && errno == EEXIST && unlink(temporary) == 0) fd = open_checked(temporary, flags, permissions);
    return fd;
}

static ls_status write_temporary(const char *path, int fd, const void *data, size_t size) {
    const char *what = "write its temporary file";
    int result = write_all(fd, data, size);
    if (result == 0) {
        what = "fsync its temporary file";
        result = fsync_checked(fd);
    }
    if (result != 0) {
        ls_status status = fail(path, what);
        (void)close(fd); /* the failure above is the one to report */
        return status;
    }
    return close_checked(fd) == 0 ? LS_OK : fail(path, "close its temporary file");
}

static ls_status read_back(const char *path, const char *temporary, const void *data, size_t size) {
    int fd = open_checked(temporary, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) return fail(path, "read back its temporary file");
    ls_status status = LS_OK;
    int differs = compare_all(fd, data, size);
    if (differs < 0) status = fail(path, "read back its temporary file");
    if (differs > 0) status = ls_fail(LS_OUTPUT, "%s: read back other bytes than were written", path);
    if (close_checked(fd) != 0 && status == LS_OK) status = fail(path, "close its temporary file");
    return status;
}

static ls_status sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder) return ls_fail(LS_INTERNAL, "out of memory: the folder of %s", path);
    int fd = open_checked(folder, O_RDONLY | O_DIRECTORY, 0);
    ls_status status = fd < 0 ? fail(folder, "open the folder") : LS_OK;
    /* Some network file systems have no fsync of folders; there rename alone has to do. */
    if (fd >= 0 && fsync_checked(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = fail(folder, "fsync the folder");
    if (fd >= 0 && close_checked(fd) != 0 && status == LS_OK) status = fail(folder, "close the folder");
    free(folder);
    return status;
}

ls_status ls_atomic_write(const char *path, const void *data, size_t size, mode_t permissions) {
    size_t length = strlen(path) + sizeof TEMPORARY + 24;
    char *temporary = NULL;
    LS_TRY(ls_calloc(&temporary, length, 1, "the name of a temporary file"));
    snprintf(temporary, length, "%s" TEMPORARY "%ld", path, (long)getpid());

    int fd = create_new(temporary, permissions);
    if (fd < 0) {
        ls_status failed = fail(path, "create its temporary file");
        free(temporary);
        return failed;
    }
    ls_status status = write_temporary(path, fd, data, size);
    if (status == LS_OK) status = read_back(path, temporary, data, size);
    if (status == LS_OK && rename(temporary, path) != 0) status = fail(path, "rename its temporary file");
    if (status == LS_OK)
        status = sync_folder(path);
    else if (unlink(temporary) != 0)
        ls_log(LS_LOG_WARNING, "%s: cannot remove the temporary file: %s", temporary, strerror(errno));
    free(temporary);
    return status;
}

/* The process that a name says wrote it; 0 if it is not the name of a temporary file of ours. */
static long writer_of(const char *name) {
    const char *at = NULL;
    for (const char *next = strstr(name, TEMPORARY); next; next = strstr(next + 1, TEMPORARY)) at = next;
    if (!at || at == name) return 0;
    at += sizeof TEMPORARY - 1;
    if (*at < '1' || *at > '9') return 0;
    long pid = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        pid = 10 * pid + (*at - '0');
        if (pid > INT32_MAX) return 0;
    }
    return *at == '\0' ? pid : 0;
}

static bool runs(long pid) {
    return pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

static ls_status sweep_entry(const char *folder, int fd, const char *name, bool locked) {
    struct stat info;
    long pid = writer_of(name);
    if (pid == 0 || (!locked && runs(pid))) return LS_OK;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) return LS_OK;
    if (unlinkat(fd, name, 0) != 0 && errno != ENOENT)
        return ls_fail(LS_OUTPUT, "%s/%s: cannot remove the leftover temporary file: %s", folder, name,
                       strerror(errno));
    ls_log(LS_LOG_INFO, "%s/%s: leftover temporary file removed", folder, name);
    return LS_OK;
}

ls_status ls_atomic_sweep(const char *folder, bool locked) {
    DIR *handle = opendir(folder);
    if (!handle) return fail(folder, "list the folder");
    ls_status status = LS_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(handle);
        if (!entry) break;
        ls_status swept = sweep_entry(folder, dirfd(handle), entry->d_name, locked);
        if (status == LS_OK) status = swept;
    }
    if (errno != 0 && status == LS_OK) status = fail(folder, "list the folder");
    if (closedir(handle) != 0 && status == LS_OK) status = fail(folder, "close the folder");
    return status;
}
