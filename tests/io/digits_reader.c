/* An example of a reader: digits as "pen-based" and "optical" sets of handwriting have them, text with a line
 * an image: 8 x 8 values of 0 to 16, and the class, with commas between. data=FOLDER has optdigits.tra and
 * optdigits.tes. */
#include "io/digits_reader.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, MOST_IMAGES = 100000 };

static const char *const names[LS_DATA_PARTS] = {"optdigits.tra", "optdigits.tes"};

static FILE *open_part(const char *folder, ls_data_part part, char *path, size_t size) {
    int length = snprintf(path, size, "%s/%s", folder, names[part]);
    return length > 0 && (size_t)length < size ? fopen(path, "r") : NULL;
}

static bool probe(const char *folder, char *miss, size_t size) {
    char path[4096];
    FILE *file = open_part(folder, LS_DATA_TRAIN, path, sizeof path);
    if (file) fclose(file);
    if (!file) snprintf(miss, size, "expected %s and %s", names[LS_DATA_TRAIN], names[LS_DATA_TEST]);
    return file != NULL;
}

/* The next line's values; false at the end. */
static bool read_line(FILE *file, int values[PIXELS + 1]) {
    for (int i = 0; i <= PIXELS; i++)
        if (fscanf(file, i < PIXELS ? "%d," : "%d", &values[i]) != 1) return false;
    return true;
}

static ls_status read_open(FILE *file, const char *path, ls_dataset *set) {
    int values[PIXELS + 1];
    for (; set->count < MOST_IMAGES && read_line(file, values); set->count++) {
        for (int i = 0; i <= PIXELS; i++)
            if (values[i] < 0 || values[i] > 16)
                return ls_fail(LS_BAD_DATA, "%s: image %d: found %d, expected 0 to 16", path, (int)set->count,
                               values[i]);
        for (int i = 0; i < PIXELS; i++)
            set->images[set->count * PIXELS + i] = (uint8_t)(values[i] * 255 / 16);
        set->labels[set->count] = (uint8_t)values[PIXELS];
        if (values[PIXELS] >= set->classes) set->classes = values[PIXELS] + 1;
    }
    if (set->count > 0 && feof(file)) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: found something else behind image %d, expected numbers", path,
                   (int)set->count);
}

static ls_status read_set(ls_reader *reader, ls_data_part part, ls_dataset *set) {
    char path[4096];
    FILE *file = open_part(reader->path, part, path, sizeof path);
    if (!file) return ls_fail(LS_BAD_DATA, "%s: cannot be opened", path);
    set->height = set->width = SIDE;
    ls_status status = ls_calloc(&set->images, MOST_IMAGES, PIXELS, "the digits");
    if (status == LS_OK) status = ls_calloc(&set->labels, MOST_IMAGES, 1, "their classes");
    if (status == LS_OK) status = read_open(file, path, set);
    fclose(file);
    return status;
}

static ls_status sizes(ls_reader *reader, ls_data_part part, ls_dataset *found) {
    ls_dataset set = {0};
    ls_status status = read_set(reader, part, &set);
    if (status == LS_OK) {
        *found = set;
        found->images = found->labels = NULL;
    }
    ls_dataset_destroy(&set);
    return status;
}

const ls_reader_class digits_reader = {.name = "digits", .probe = probe, .sizes = sizes, .read = read_set};
