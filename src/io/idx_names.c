#include "io/idx_names.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FORMS = 4, MOST_NAME = 64, MOST_ENTRIES = 4096 };

static const char *const stems[LS_DATA_PARTS][2] = {{"train-images", "train-labels"},
                                                    {"t10k-images", "t10k-labels"}};
static const char *const types[2] = {"idx3-ubyte", "idx1-ubyte"};
static const char *const layouts[] = {"raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"};

enum { LAYOUTS = sizeof layouts / sizeof *layouts };

/* Form 0 is the published name. A plain file comes before a compressed one. */
static void name_of(ls_data_part part, ls_idx_item item, int form, char name[MOST_NAME]) {
    snprintf(name, MOST_NAME, "%s%c%s%s", stems[part][item], form % 2 == 0 ? '-' : '.', types[item],
             form < 2 ? "" : ".gz");
}

static ls_status join(const char *folder, const char *name, char **path) {
    size_t size = strlen(folder) + strlen(name) + 2;
    LS_TRY(ls_calloc(path, size, 1, "the name of a file"));
    snprintf(*path, size, "%s/%s", folder, name);
    return LS_OK;
}

typedef enum presence { ABSENT, ODD, REGULAR } presence;

/* ODD: something that is no regular file, or that cannot be looked at; opening it will tell. */
static presence look(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return errno == ENOENT || errno == ENOTDIR ? ABSENT : ODD;
    return S_ISREG(info.st_mode) ? REGULAR : ODD;
}

/* The form in which the file is there: a regular one if any is, as some archives unpack into a folder of the
 * one name beside a file of the other. -1: none. */
static ls_status find_form(const char *folder, ls_data_part part, ls_idx_item item, int *form) {
    int odd = -1;
    *form = -1;
    for (int f = 0; f < FORMS && *form < 0; f++) {
        char name[MOST_NAME], *path;
        name_of(part, item, f, name);
        LS_TRY(join(folder, name, &path));
        presence there = look(path);
        free(path);
        if (there == REGULAR) *form = f;
        if (there == ODD && odd < 0) odd = f;
    }
    if (*form < 0) *form = odd;
    return LS_OK;
}

/* --- near misses ----------------------------------------------------------------------------------- */

static int least(int a, int b, int c) {
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to insert, delete or replace, upper and lower case alike; both names are shorter than MOST_NAME. */
static int distance(const char *a, const char *b) {
    int row[MOST_NAME + 1], width = (int)strlen(b);
    for (int j = 0; j <= width; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < width; j++) {
            int other = tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]);
            int next = least(row[j] + 1, row[j + 1] + 1, diagonal + other);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    return row[width];
}

/* Is it the name of another of the four files? */
static bool is_known(const char *entry) {
    char name[MOST_NAME];
    for (int k = 0; k < LS_DATA_PARTS * 2 * FORMS; k++) {
        name_of((ls_data_part)(k / FORMS % LS_DATA_PARTS), (ls_idx_item)(k / FORMS / LS_DATA_PARTS),
                k % FORMS, name);
        if (strcmp(name, entry) == 0) return true;
    }
    return false;
}

static int distance_to(const char *entry, ls_data_part part, ls_idx_item item) {
    char name[MOST_NAME];
    int best = MOST_NAME;
    for (int form = 0; form < FORMS; form++) {
        name_of(part, item, form, name);
        int d = distance(name, entry);
        best = d < best ? d : best;
    }
    return best;
}

/* Has a folder inside this one the file that is missing here? */
static bool holds(const char *folder, const char *entry, ls_data_part part, ls_idx_item item) {
    char *path;
    int form = -1;
    if (entry[0] == '.' || join(folder, entry, &path) != LS_OK) return false;
    ls_status status = find_form(path, part, item, &form);
    free(path);
    return status == LS_OK && form >= 0;
}

static void tell(const char *what, const char *entry, char *text, size_t size) {
    int at = snprintf(text, size, "%s", what);
    for (size_t i = at > 0 ? (size_t)at : 0; *entry && i + 1 < size; i++, text[i] = '\0')
        text[i] = isprint((unsigned char)*entry) ? *entry : '?', entry++;
}

/* "; the nearest name there is .." for a missing file, or nothing. */
static void tell_nearest(const char *folder, ls_data_part part, ls_idx_item item, char *text, size_t size) {
    int best = (int)strlen(stems[part][item]); /* farther names are others */
    char nearest[MOST_NAME] = "";
    const struct dirent *entry;
    DIR *handle = opendir(folder);
    *text = '\0';
    if (!handle) return;
    for (int i = 0; i < MOST_ENTRIES && (entry = readdir(handle)); i++) {
        if (holds(folder, entry->d_name, part, item)) {
            tell("; it is in the folder ", entry->d_name, text, size);
            break;
        }
        if (strlen(entry->d_name) >= MOST_NAME || is_known(entry->d_name)) continue;
        int d = distance_to(entry->d_name, part, item);
        /* folders have no order: of equally near names the first by letters */
        if (d > best || (d == best && *nearest && strcmp(entry->d_name, nearest) > 0)) continue;
        best = d;
        snprintf(nearest, sizeof nearest, "%s", entry->d_name);
    }
    if (closedir(handle) != 0 || *text || !*nearest) return;
    tell("; the nearest name there is ", nearest, text, size);
}

void ls_idx_explain_miss(const char *path, char *text, size_t size) {
    struct stat info;
    char nearest[128];
    if (stat(path, &info) != 0) {
        snprintf(text, size, "%s", strerror(errno));
    } else if (!S_ISDIR(info.st_mode)) {
        snprintf(text, size, "found no folder, expected one with the four files of MNIST's form");
    } else {
        tell_nearest(path, LS_DATA_TRAIN, LS_IDX_IMAGES, nearest, sizeof nearest);
        snprintf(text, size,
                 "expected train-images-idx3-ubyte and three more, with - or . before idx, plain or .gz%s",
                 nearest);
    }
}

/* --- what is there --------------------------------------------------------------------------------- */

static ls_status has_files(const char *folder, bool *has) {
    *has = false;
    for (int k = 0; k < 2 * LS_DATA_PARTS && !*has; k++) {
        int form;
        LS_TRY(find_form(folder, (ls_data_part)(k / 2), (ls_idx_item)(k % 2), &form));
        *has = form >= 0;
    }
    return LS_OK;
}

ls_status ls_idx_find_folder(const char *path, char **folder) {
    bool has;
    *folder = NULL;
    LS_TRY(has_files(path, &has));
    if (has) return ls_strdup(folder, path);
    for (int i = 0; i < LAYOUTS; i++) {
        char *inner;
        LS_TRY(join(path, layouts[i], &inner));
        ls_status status = has_files(inner, &has);
        if (status == LS_OK && has && *folder)
            status =
                ls_fail(LS_BAD_DATA, "%s: found several data sets: %s and %s; expected data=FOLDER of one",
                        path, *folder, inner);
        if (status == LS_OK && has)
            *folder = inner;
        else
            free(inner);
        if (status == LS_OK) continue;
        free(*folder);
        *folder = NULL;
        return status;
    }
    return LS_OK;
}

ls_status ls_idx_find_file(const char *folder, ls_data_part part, ls_idx_item item, char **path) {
    char name[MOST_NAME], nearest[128];
    int form;
    *path = NULL;
    LS_TRY(find_form(folder, part, item, &form));
    if (form >= 0) {
        name_of(part, item, form, name);
        return join(folder, name, path);
    }
    tell_nearest(folder, part, item, nearest, sizeof nearest);
    name_of(part, item, 0, name);
    return ls_fail(LS_BAD_DATA, "%s/%s: missing: found neither it nor %s.%s, expected one, plain or .gz%s",
                   folder, name, stems[part][item], types[item], nearest);
}
