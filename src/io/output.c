#include "io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/seal.h"

static bool is_same(const struct stat *there, const char *input) {
    struct stat info;
    return input && stat(input, &info) == 0 && info.st_dev == there->st_dev && info.st_ino == there->st_ino;
}

/* By the head alone: a file of ours that was damaged is ours still. */
static bool is_of_kind(const char *path, const char *kind) {
    unsigned char head[LS_SEAL_SIZE];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, head, sizeof head);
    (void)close(fd); /* nothing was written that could be lost */
    return got == (ssize_t)sizeof head && ls_seal_is(head, kind);
}

ls_status ls_output_check(const ls_output *output, const char *kind) {
    struct stat info;
    const char *path = output->path;
    if (!path) return LS_OK;
    if (stat(path, &info) == 0) {
        if (is_same(&info, output->input))
            return ls_fail(LS_USAGE, "%s: is what is read; expected another file to write to", path);
        if (!S_ISREG(info.st_mode)) return ls_fail(LS_OUTPUT, "%s: is there and not a regular file", path);
        if (output->force || (kind && is_of_kind(path, kind))) return LS_OK;
        return ls_fail(LS_BUSY, "%s: is there already; expected a new file (--force replaces it)", path);
    }
    /* a link that leads nowhere would be replaced as well */
    if (lstat(path, &info) != 0 || output->force) return LS_OK;
    return ls_fail(LS_BUSY,
                   "%s: is there already, a link that leads nowhere; expected a new file (--force "
                   "replaces it)",
                   path);
}
