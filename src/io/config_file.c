/* The text of a configuration file: read here, or received from the rank that has read it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/config_merge.h"

enum { PATIENCE_SECONDS = 10, PATH_SIZE = 64 };

/* --- texts that ranks give each other ---------------------------------------------------------------- */

ls_status ls_config_files_add(ls_config_files *files, char *text, size_t length) {
    ls_config_text_of *larger = realloc(files->texts, ((size_t)files->count + 1) * sizeof *larger);
    if (!larger) return ls_fail(LS_INTERNAL, "out of memory for the text of a configuration");
    files->texts = larger;
    files->texts[files->count++] = (ls_config_text_of){text, length};
    return LS_OK;
}

void ls_config_files_destroy(ls_config_files *files) {
    for (int i = 0; i < files->count; i++) free(files->texts[i].text);
    free(files->texts);
    *files = (ls_config_files){0};
}

static ls_status copy_text(const char *from, size_t length, char **text) {
    LS_TRY(ls_calloc(text, length + 1, 1, "the text of a configuration"));
    memcpy(*text, from, length);
    return LS_OK;
}

static ls_status take_text(ls_config_files *files, const char *path, char **text, size_t *length) {
    if (files->taken == files->count) return ls_fail(LS_INTERNAL, "%.500s: its text was not received", path);
    const ls_config_text_of *from = &files->texts[files->taken++];
    *length = from->length;
    return copy_text(from->text, from->length, text);
}

static ls_status record_text(ls_config_files *files, const char *text, size_t length) {
    char *copy;
    LS_TRY(copy_text(text, length, &copy));
    ls_status status = ls_config_files_add(files, copy, length);
    if (status != LS_OK) free(copy);
    return status;
}

/* --- files -------------------------------------------------------------------------------------------- */

/* A shell's <(..) is a pipe that is open in the process that the shell has started. mpirun closes it for the
 * ranks that it starts, but has it still. */
static const char *find(const char *path, char parent[PATH_SIZE]) {
    static const char *const prefixes[] = {"/dev/fd/", "/proc/self/fd/"};
    struct stat info;
    if (stat(path, &info) == 0) return path;
    for (int i = 0; i < 2; i++) {
        const size_t length = strlen(prefixes[i]);
        if (strncmp(path, prefixes[i], length) != 0) continue;
        snprintf(parent, PATH_SIZE, "/proc/%ld/fd/%.16s", (long)getppid(), path + length);
        if (stat(parent, &info) == 0 && S_ISFIFO(info.st_mode)) return parent;
    }
    return path;
}

/* Waits until there is something to read, or the last writer has gone. */
static ls_status wait_for_writer(int fd, const char *name, bool *gone) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int ready;
    do ready = poll(&wanted, 1, 1000 * PATIENCE_SECONDS);
    while (ready < 0 && errno == EINTR);
    if (ready < 0) return ls_fail(LS_USAGE, "%.500s: cannot be read: %s", name, strerror(errno));
    if (ready == 0)
        return ls_fail(LS_USAGE, "%.500s: a pipe to which nobody has written for %d s", name,
                       PATIENCE_SECONDS);
    *gone = !(wanted.revents & POLLIN);
    return LS_OK;
}

/* Reads what there is; at the end *ended. Nothing from a pipe may mean that nobody writes to it yet. */
static ls_status read_some(int fd, const char *name, bool pipe, char *text, size_t room, size_t *length,
                           bool *ended) {
    const ssize_t size = read(fd, text + *length, room - *length);
    if (size > 0) *length += (size_t)size;
    if (size > 0 || (size < 0 && errno == EINTR)) return LS_OK;
    if (size < 0 && errno != EAGAIN)
        return ls_fail(LS_USAGE, "%.*s: cannot be read: %s", LS_POSITION_MAX, name, strerror(errno));
    if (size == 0 && (!pipe || *length > 0)) {
        *ended = true;
        return LS_OK;
    }
    return wait_for_writer(fd, name, ended);
}

static ls_status read_all(int fd, const char *name, bool pipe, char **text, size_t *length) {
    bool ended = false;
    for (size_t room = 0; !ended;) {
        if (*length == room) {
            room = room ? 2 * room : 16384;
            char *larger = realloc(*text, room);
            if (!larger)
                return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for a configuration file", room);
            *text = larger;
        }
        LS_TRY(read_some(fd, name, pipe, *text, room, length, &ended));
        if (*length > LS_CONFIG_MAX_BYTES)
            return ls_fail(LS_USAGE, "%.*s: larger than %d bytes", LS_POSITION_MAX, name,
                           LS_CONFIG_MAX_BYTES);
    }
    return LS_OK;
}

/* Opens and reads; what is not there is told at the `base` that names it, if there is one. */
static ls_status read_path(ls_config *config, const char *path, const ls_config_place *place,
                           ls_status (*check)(const ls_config_place *place, const struct stat *info),
                           char **text, size_t *length) {
    char parent[PATH_SIZE];
    struct stat info;
    const char *found = find(path, parent);
    ls_config_files *files = config->files;
    if (files && files->source == LS_CONFIG_LOOK && stat(found, &info) == 0 && !S_ISREG(info.st_mode) &&
        !S_ISDIR(info.st_mode)) {
        files->stream = true;
        return ls_fail(LS_USAGE, "%.500s: can be read once only", path);
    }
    /* a pipe without a writer would wait in open() for ever */
    int fd = open(found, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        const char *reason = strerror(errno);
        if (fd >= 0) close(fd);
        return place->by ? ls_yaml_fail(place->by, place->at, "base: %.500s: %s", path, reason)
                         : ls_fail(LS_USAGE, "%.500s: cannot be opened: %s", path, reason);
    }
    ls_status status = check(place, &info);
    if (status == LS_OK) status = read_all(fd, path, S_ISFIFO(info.st_mode), text, length);
    close(fd); /* nothing was written through it */
    return status;
}

ls_status ls_config_read_file(ls_config *config, const char *path, const ls_config_place *place,
                              ls_status (*check)(const ls_config_place *place, const struct stat *info),
                              char **text, size_t *length) {
    ls_config_files *files = config->files;
    *text = NULL;
    *length = 0;
    if (files && files->source == LS_CONFIG_GIVEN) return take_text(files, path, text, length);
    ls_status status = read_path(config, path, place, check, text, length);
    if (status == LS_OK && files && files->source == LS_CONFIG_RECORD)
        status = record_text(files, *text, *length);
    if (status == LS_OK) return LS_OK;
    free(*text);
    *text = NULL;
    return status;
}
