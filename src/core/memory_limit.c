#define _DEFAULT_SOURCE /* _SC_PHYS_PAGES */
#include "core/memory_limit.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A longer path, or line of /proc, is passed over: then the limit is not found. */
enum { PATH = 4096, LINE = 2 * PATH };

/* A number in a file; "max" is none. */
static uint64_t read_limit(const char *root, const char *folder, const char *name) {
    char path[LINE + PATH];
    uint64_t bytes;
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return UINT64_MAX;
    bool found = fscanf(file, "%" SCNu64, &bytes) == 1;
    fclose(file);
    return found ? bytes : UINT64_MAX;
}

/* The hierarchy that holds a controller: of version 2 the only one, which /proc/self/cgroup numbers 0, of
 * version 1 that of `memory`. */
typedef struct hierarchy {
    int version;
    const char *limit; /* name of the file */
    char group[PATH];  /* of this process, "/a/b" */
    char top[PATH];    /* the group that is mounted .. */
    char mount[PATH];  /* .. and where */
} hierarchy;

/* Is `word` one of the words in the list, which commas part? */
static bool lists(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0' || at[length] == '\n'))
            return true;
    return false;
}

/* The group of this process, from lines NUMBER:CONTROLLERS:PATH. */
static bool find_group(const char *root, hierarchy *h) {
    char path[PATH], line[LINE];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *controllers++ = *group++ = '\0';
        found = h->version == 2 ? strcmp(line, "0") == 0 && !*controllers : lists(controllers, "memory");
        if (found) snprintf(h->group, sizeof h->group, "%.*s", PATH - 1, group);
    }
    if (file) fclose(file);
    return found;
}

/* Where it is mounted, from lines "ID PARENT DEVICE ROOT MOUNT OPTIONS .. - TYPE SOURCE OPTIONS". */
static bool find_mount(const char *root, hierarchy *h) {
    char path[PATH], line[LINE], type[32], options[PATH];
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *rest = strstr(line, " - ");
        found = rest && sscanf(line, "%*s %*s %*s %4095s %4095s", h->top, h->mount) == 2 &&
                sscanf(rest, " - %31s %*s %4095s", type, options) == 2 &&
                (h->version == 2 ? strcmp(type, "cgroup2") == 0
                                 : strcmp(type, "cgroup") == 0 && lists(options, "memory"));
    }
    if (file) fclose(file);
    return found;
}

/* The least of the group's limit and those of all groups around it, as far as they are mounted. */
static uint64_t least_limit(const char *root, hierarchy *h) {
    char folder[LINE];
    const char *group = h->group;
    size_t top = strcmp(h->top, "/") == 0 ? 0 : strlen(h->top);
    /* in a container the path may be that of the host, of which only the own group is mounted */
    group = strncmp(group, h->top, top) == 0 ? group + top : "";
    snprintf(folder, sizeof folder, "%s%s", h->mount, strcmp(group, "/") == 0 ? "" : group);
    uint64_t least = UINT64_MAX;
    for (const size_t end = strlen(h->mount);;) {
        uint64_t limit = read_limit(root, folder, h->limit);
        if (limit < least) least = limit;
        char *slash = strrchr(folder, '/');
        if (!slash || strlen(folder) <= end) return least;
        *slash = '\0';
    }
}

ls_memory_limit ls_memory_limit_of(const char *root, uint64_t machine) {
    ls_memory_limit found = {machine, "the machine"};
    hierarchy both[] = {{.version = 2, .limit = "memory.max"},
                        {.version = 1, .limit = "memory.limit_in_bytes"}};
    for (int i = 0; i < 2; i++) {
        if (!find_group(root, &both[i]) || !find_mount(root, &both[i])) continue;
        uint64_t bytes = least_limit(root, &both[i]);
        if (bytes < found.bytes) found = (ls_memory_limit){bytes, "its control group"};
    }
    return found;
}

ls_memory_limit ls_memory_limit_find(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return ls_memory_limit_of("", pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX);
}
