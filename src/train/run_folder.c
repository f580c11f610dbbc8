#define _DEFAULT_SOURCE /* flock */
#include "train/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"

static ls_status join(const char *folder, const char *name, char **path) {
    size_t size = strlen(folder) + strlen(name) + 2;
    LS_TRY(ls_calloc(path, size, 1, "a path"));
    snprintf(*path, size, "%s/%s", folder, name);
    return LS_OK;
}

ls_status ls_run_folder_default(const char *config_path, char **folder) {
    if (strncmp(config_path, "/dev/", 5) == 0 || strncmp(config_path, "/proc/", 6) == 0)
        return ls_fail(LS_USAGE, "output: not given, and %s gives a run folder no name", config_path);
    const char *base = strrchr(config_path, '/');
    base = base ? base + 1 : config_path;
    LS_TRY(join("runs", base, folder));
    char *dot = strrchr(*folder, '.');
    if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0)) *dot = '\0';
    return LS_OK;
}

static ls_status make_folder(const char *path) {
    struct stat info;
    if (mkdir(path, 0777) == 0 || errno == EEXIST) {
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return LS_OK;
        return ls_fail(LS_OUTPUT, "%s: not a folder", path);
    }
    return ls_fail(LS_OUTPUT, "%s: cannot be made: %s", path, strerror(errno));
}

/* As mkdir -p. */
static ls_status make_folders(const char *folder) {
    char *path;
    ls_status status = ls_strdup(&path, folder);
    for (char *slash = path; status == LS_OK && (slash = strchr(slash + 1, '/')); *slash = '/') {
        *slash = '\0';
        if (*path) status = make_folder(path);
    }
    if (status == LS_OK) status = make_folder(path);
    free(path);
    return status;
}

static bool belongs_to_a_run(const char *name) {
    uint64_t step;
    return strcmp(name, "metrics.h5") == 0 || strcmp(name, "config.yaml") == 0 ||
           ls_checkpoint_step_of(name, &step);
}

static ls_status remove_file(const char *folder, const char *name) {
    char *path;
    LS_TRY(join(folder, name, &path));
    ls_status status = LS_OK;
    if (unlink(path) != 0) status = ls_fail(LS_OUTPUT, "%s: cannot be removed: %s", path, strerror(errno));
    free(path);
    return status;
}

/* Locks FOLDER/lock; the file stays, the lock goes with the process. *locked: is it there? Not every file
 * system has locks. */
static ls_status lock_folder(const char *folder, int *lock, bool *locked) {
    char *path;
    ls_status status = LS_OK;
    *locked = false;
    LS_TRY(join(folder, "lock", &path));
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*lock < 0)
        status = ls_fail(LS_OUTPUT, "%s: cannot be made: %s", path, strerror(errno));
    else if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            status = ls_fail(LS_BUSY, "%s: another run is writing here", folder);
        else
            ls_log(LS_LOG_WARNING, "%s: no lock, so nothing keeps a second run out: %s", path,
                   strerror(errno));
    } else {
        *locked = true;
    }
    free(path);
    return status;
}

ls_status ls_run_folder_open(const char *folder, int *lock) {
    bool locked;
    *lock = -1;
    LS_TRY(make_folders(folder));
    LS_TRY(lock_folder(folder, lock, &locked));
    return ls_atomic_sweep(folder, locked);
}

bool ls_run_folder_contains(const char *folder, const char *path) {
    char *parent = NULL;
    struct stat a, b;
    if (ls_strdup(&parent, path) != LS_OK) return false;
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = '\0';
    bool same = stat(slash ? parent : ".", &a) == 0 && stat(folder, &b) == 0 && a.st_dev == b.st_dev &&
                a.st_ino == b.st_ino;
    free(parent);
    return same;
}

ls_status ls_run_folder_clear(const char *folder, bool overwrite) {
    ls_status status = LS_OK;
    DIR *stream = opendir(folder);
    if (!stream) return ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
    while (status == LS_OK) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            if (errno != 0) status = ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
            break;
        }
        if (!belongs_to_a_run(entry->d_name)) continue;
        if (!overwrite)
            status = ls_fail(
                LS_BUSY,
                "%s already holds a run (%s); give another output=FOLDER, or resume=auto, or overwrite=true",
                folder, entry->d_name);
        else
            status = remove_file(folder, entry->d_name);
    }
    if (closedir(stream) != 0 && status == LS_OK)
        status = ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
    return status;
}

ls_status ls_run_folder_write(const char *folder, const char *name, const char *text) {
    char *path;
    LS_TRY(join(folder, name, &path));
    ls_status status = ls_atomic_write(path, text, strlen(text), LS_EDITABLE);
    free(path);
    return status;
}
