#include "io/metrics_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"
#include "io/metrics_layout.h"

/* ---- tables ---- */

/* One column into the rows of a struct each. */
static ls_status read_column(const ls_h5_file *file, const ls_metrics_column *column, int64_t length,
                             uint64_t *cells, void *rows, size_t row_size) {
    ls_record record = {ls_metrics_column_path(column), column->type, 1, {length}, cells};
    LS_TRY(ls_h5_read_record(file, &record));
    for (int64_t i = 0; i < length; i++)
        memcpy((char *)rows + (size_t)i * row_size + column->offset, &cells[i], sizeof *cells);
    return LS_OK;
}

static ls_status table_length(const ls_h5_file *file, const ls_metrics_column *column, int64_t *length) {
    *length = ls_h5_length(file, ls_metrics_column_path(column));
    if (*length >= 0 && (uint64_t)*length <= file->image.size / sizeof(uint64_t)) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: found no array %s, expected one", file->path,
                   ls_metrics_column_path(column));
}

/* The first column counts, from one row to the next by at least 1. */
static ls_status check_order(const ls_h5_file *file, const char *path, const void *rows, size_t row_size,
                             int64_t length) {
    uint64_t before = 0, at;
    for (int64_t i = 0; i < length; i++, before = at) {
        memcpy(&at, (const char *)rows + (size_t)i * row_size, sizeof at);
        if (i > 0 && at <= before)
            return ls_fail(LS_BAD_DATA, "%s: %s: found %" PRIu64 " after %" PRIu64 ", expected to increase",
                           file->path, path, at, before);
    }
    return LS_OK;
}

/* rows: the address of a pointer to the row's struct. */
static ls_status read_table(const ls_h5_file *file, const ls_metrics_column *columns, int column_count,
                            size_t row_size, void *rows, int64_t *count) {
    uint64_t *cells = NULL;
    void *table = NULL;
    int64_t length;
    LS_TRY(table_length(file, &columns[0], &length));
    LS_TRY(ls_calloc(rows, (size_t)length, row_size, "the rows of metrics"));
    memcpy(&table, rows, sizeof table);
    *count = length;
    ls_status status = ls_calloc(&cells, (size_t)length, sizeof *cells, "a column of metrics");
    for (int i = 0; i < column_count && status == LS_OK; i++)
        status = read_column(file, &columns[i], length, cells, table, row_size);
    free(cells);
    LS_TRY(status);
    return check_order(file, ls_metrics_column_path(&columns[0]), table, row_size, length);
}

/* ---- the trail ---- */

/* Cuts the text into its lines. */
static ls_status split_names(ls_metrics_file *metrics) {
    ls_trail *trail = &metrics->trail;
    if (*metrics->names) trail->tensors = 1;
    for (const char *at = metrics->names; *at; at++) trail->tensors += *at == '\n';
    LS_TRY(ls_calloc(&trail->names, (size_t)trail->tensors, sizeof *trail->names, "the names of the trail"));
    char *at = metrics->names;
    for (int64_t i = 0; i < trail->tensors; i++) {
        char *end = at + strcspn(at, "\n");
        trail->names[i] = at;
        at = *end ? end + 1 : end;
        *end = '\0';
    }
    return LS_OK;
}

static ls_status read_trail(const ls_h5_file *file, ls_metrics_file *metrics) {
    ls_trail *trail = &metrics->trail;
    LS_TRY(ls_h5_read_text(file, "trail/names", &metrics->names));
    LS_TRY(split_names(metrics));
    LS_TRY(table_length(file, &ls_trail_columns[0], &trail->length));
    size_t length = (size_t)trail->length, tensors = (size_t)trail->tensors;
    if (tensors > 0 && length > file->image.size / sizeof(uint64_t) / tensors)
        return ls_fail(LS_BAD_DATA, "%s: trail: found %zu steps of %zu tensors, more than the file holds",
                       file->path, length, tensors);
    LS_TRY(ls_calloc(&trail->step, length, sizeof *trail->step, "the trail"));
    LS_TRY(ls_calloc(&trail->fingerprint, length, sizeof *trail->fingerprint, "the trail"));
    LS_TRY(ls_calloc(&trail->hash, length * tensors, sizeof *trail->hash, "the trail"));
    void *data[LS_TRAIL_COLUMNS] = {trail->step, trail->fingerprint, trail->hash};
    for (int i = 0; i < LS_TRAIL_COLUMNS; i++) {
        const ls_metrics_column *column = &ls_trail_columns[i];
        ls_record record = {ls_metrics_column_path(column), column->type, 1, {trail->length}, data[i]};
        if (i == LS_TRAIL_COLUMNS - 1) {
            record.dims = 2;
            record.shape[1] = trail->tensors;
        }
        LS_TRY(ls_h5_read_record(file, &record));
    }
    return check_order(file, "trail/step", trail->step, sizeof *trail->step, trail->length);
}

/* ---- the file ---- */

static ls_status read_test(const ls_h5_file *file, ls_metrics_file *metrics) {
    int has_loss, has_accuracy;
    LS_TRY(ls_h5_read_f64(file, "test", "loss", &metrics->test_loss, &has_loss));
    LS_TRY(ls_h5_read_f64(file, "test", "accuracy", &metrics->test_accuracy, &has_accuracy));
    metrics->has_test = has_loss && has_accuracy;
    return LS_OK;
}

static ls_status read_facts(const ls_h5_file *file, ls_metrics_file *metrics) {
    for (int i = 0; i < LS_FACTS; i++) {
        char path[64];
        int there;
        snprintf(path, sizeof path, "provenance/%s", ls_fact_names[i]);
        LS_TRY(ls_h5_has(file, path, &there));
        if (there) LS_TRY(ls_h5_read_text(file, path, &metrics->facts[i]));
    }
    return LS_OK;
}

static ls_status read_all(const ls_h5_file *file, ls_metrics_file *metrics) {
    metrics->size = file->image.size;
    LS_TRY(ls_strdup(&metrics->path, file->path));
    LS_TRY(ls_h5_read_text(file, "config/yaml", &metrics->config));
    LS_TRY(read_table(file, ls_step_columns, LS_STEP_COLUMNS, sizeof *metrics->steps, &metrics->steps,
                      &metrics->step_count));
    LS_TRY(read_table(file, ls_epoch_columns, LS_EPOCH_COLUMNS, sizeof *metrics->epochs, &metrics->epochs,
                      &metrics->epoch_count));
    LS_TRY(read_table(file, ls_test_columns, LS_TEST_ROW_COLUMNS, sizeof *metrics->tests, &metrics->tests,
                      &metrics->test_count));
    LS_TRY(read_trail(file, metrics));
    LS_TRY(read_test(file, metrics));
    return read_facts(file, metrics);
}

ls_status ls_metrics_file_read(const char *path, ls_metrics_file **metrics) {
    ls_h5_file *file = NULL;
    ls_status status = LS_OK;
    *metrics = NULL;
    LS_TRY_GOTO(status, done, ls_h5_open(path, LS_METRICS_KIND, LS_METRICS_VERSION, &file));
    LS_TRY_GOTO(status, done, ls_calloc(metrics, 1, sizeof **metrics, "metrics"));
    LS_TRY_GOTO(status, done, read_all(file, *metrics));
done:
    ls_h5_discard(&file);
    if (status != LS_OK) ls_metrics_file_destroy(metrics);
    return status;
}

void ls_metrics_file_destroy(ls_metrics_file **metrics) {
    ls_metrics_file *m = *metrics;
    if (!m) return;
    for (int i = 0; i < LS_FACTS; i++) free(m->facts[i]);
    free(m->trail.step);
    free(m->trail.fingerprint);
    free(m->trail.hash);
    free(m->trail.names);
    free(m->names);
    free(m->steps);
    free(m->epochs);
    free(m->tests);
    free(m->config);
    free(m->path);
    free(m);
    *metrics = NULL;
}

const char *ls_metrics_file_fact(const ls_metrics_file *metrics, const char *name) {
    for (int i = 0; i < LS_FACTS; i++)
        if (strcmp(ls_fact_names[i], name) == 0) return metrics->facts[i];
    return NULL;
}
