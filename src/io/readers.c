/* The formats of data sets, and what holds of all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/idx.h"
#include "io/reader.h"

enum { MOST_CLASSES = 16 };

static const ls_reader_class *classes[MOST_CLASSES] = {
    &ls_idx_reader,
};

ls_status ls_reader_register(const ls_reader_class *class) {
    for (int i = 0; i < MOST_CLASSES; i++) {
        if (classes[i] == class) return LS_OK;
        if (classes[i]) continue;
        classes[i] = class;
        return LS_OK;
    }
    return ls_fail(LS_INTERNAL, "more than %d formats of data", MOST_CLASSES);
}

/* The class that finds a set there, or NULL, with what all of them say. */
static const ls_reader_class *find_class(const char *path, char *misses, size_t size) {
    *misses = '\0';
    for (int i = 0; i < MOST_CLASSES && classes[i]; i++) {
        char miss[512] = "nothing";
        if (classes[i]->probe(path, miss, sizeof miss)) return classes[i];
        size_t at = strlen(misses);
        snprintf(misses + at, size - at, "%s%s: %s", i > 0 ? "; " : "", classes[i]->name, miss);
    }
    return NULL;
}

ls_status ls_reader_open(const char *path, ls_reader **reader) {
    char misses[900];
    *reader = NULL;
    const ls_reader_class *class = find_class(path, misses, sizeof misses);
    if (!class) return ls_fail(LS_BAD_DATA, "%s: no data set is found there; %s", path, misses);
    LS_TRY(ls_calloc(reader, 1, sizeof **reader, "a reader of data"));
    (*reader)->class = class;
    ls_status status = ls_strdup(&(*reader)->path, path);
    if (status == LS_OK && class->open) status = class->open(*reader);
    if (status != LS_OK) ls_reader_close(reader);
    return status;
}

void ls_reader_close(ls_reader **reader) {
    ls_reader *r = *reader;
    if (!r) return;
    if (r->class->close) r->class->close(r);
    for (int part = 0; part < LS_DATA_PARTS; part++) {
        free(r->images[part]);
        free(r->labels[part]);
    }
    free(r->path);
    free(r);
    *reader = NULL;
}

ls_status ls_reader_sizes(ls_reader *reader, ls_data_part part, ls_dataset *sizes) {
    *sizes = (ls_dataset){0};
    return reader->class->sizes(reader, part, sizes);
}

ls_status ls_reader_read(ls_reader *reader, ls_data_part part, ls_dataset *set) {
    *set = (ls_dataset){0};
    ls_status status = reader->class->read(reader, part, set);
    if (status != LS_OK) ls_dataset_destroy(set);
    return status;
}

static ls_status check_pair(const ls_reader *reader, const ls_dataset *train, const ls_dataset *test) {
    const char *images = reader->images[LS_DATA_TEST], *labels = reader->labels[LS_DATA_TEST];
    if (test->height != train->height || test->width != train->width)
        return ls_fail(
            LS_BAD_DATA, "%s: wrong size of test images: found %d x %d, expected %d x %d as to train on",
            images ? images : reader->path, test->height, test->width, train->height, train->width);
    for (int64_t i = 0; i < test->count; i++)
        if (test->labels[i] >= train->classes)
            return ls_fail(LS_BAD_DATA,
                           "%s: wrong label: found %d at test image %" PRId64
                           ", expected 0 to %d as to train on",
                           labels ? labels : reader->path, test->labels[i], i, train->classes - 1);
    return LS_OK;
}

ls_status ls_reader_read_all(ls_reader *reader, ls_dataset *train, ls_dataset *test) {
    *test = (ls_dataset){0};
    ls_status status = ls_reader_read(reader, LS_DATA_TRAIN, train);
    if (status == LS_OK) status = ls_reader_read(reader, LS_DATA_TEST, test);
    if (status == LS_OK) status = check_pair(reader, train, test);
    if (status != LS_OK) {
        ls_dataset_destroy(train);
        ls_dataset_destroy(test);
    }
    return status;
}
