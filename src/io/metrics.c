#include "io/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "io/hdf5.h"
#include "io/metrics_layout.h"

/* Least seconds between two writes that are not asked for at once, and least part of the time spent not
 * writing. */
static const double write_interval = 2.0, write_share = 0.02;

enum {
    RECORD_COUNT =
        LS_STEP_COLUMNS + LS_EPOCH_COLUMNS + LS_TEST_ROW_COLUMNS + LS_TRAIL_COLUMNS + LS_TEST_COLUMNS
};

/* Rows kept by columns, as HDF5 stores them. */
typedef struct table {
    const ls_metrics_column *columns;
    int column_count;
    int matrix;   /* the last column has two dimensions */
    size_t width; /* of the last column */
    size_t length, capacity;
    unsigned char *data[LS_METRICS_COLUMNS_MAX];
} table;

enum { STEPS, EPOCHS, TESTS, TRAIL, TABLES };

struct ls_metrics {
    char *path, *config;
    char **fact_names, **fact_values;
    int fact_count;
    char *tensor_names; /* one a line */
    table tables[TABLES];
    double test[LS_TEST_COLUMNS]; /* loss, accuracy */
    int64_t has_test;             /* 0 or 1: the length of /history/test's arrays */
    ls_record records[RECORD_COUNT];
    double next_write; /* monotonic seconds; not before then unless asked */
    bool unwritten;    /* something has been added since the last write */
};

/* ---- tables ---- */

static size_t cell_size(const table *t, int i) {
    return 8 * (i == t->column_count - 1 ? t->width : 1);
}

static ls_status table_reserve(table *t, size_t length) {
    if (length <= t->capacity) return LS_OK;
    size_t capacity = t->capacity * 2 > length ? t->capacity * 2 : length;
    if (capacity < 64) capacity = 64;
    for (int i = 0; i < t->column_count; i++) {
        size_t cell = cell_size(t, i);
        if (cell == 0) continue;
        unsigned char *grown = capacity <= SIZE_MAX / cell ? realloc(t->data[i], capacity * cell) : NULL;
        if (!grown) return ls_fail(LS_INTERNAL, "out of memory: %zu rows of metrics", capacity);
        t->data[i] = grown;
    }
    t->capacity = capacity;
    return LS_OK;
}

static ls_status table_append(table *t, const void *const *cells) {
    LS_TRY(table_reserve(t, t->length + 1));
    for (int i = 0; i < t->column_count; i++) {
        size_t cell = cell_size(t, i);
        if (cell > 0) memcpy(t->data[i] + t->length * cell, cells[i], cell);
    }
    t->length++;
    return LS_OK;
}

static ls_status table_append_row(table *t, const void *row) {
    const void *cells[LS_METRICS_COLUMNS_MAX];
    for (int i = 0; i < t->column_count; i++) cells[i] = (const char *)row + t->columns[i].offset;
    return table_append(t, cells);
}

static void table_release(table *t) {
    for (int i = 0; i < t->column_count; i++) free(t->data[i]);
}

static ls_record table_record(const table *t, int i) {
    ls_record record = {t->columns[i].path, t->columns[i].type, 1, {(int64_t)t->length}, t->data[i]};
    if (t->matrix && i == t->column_count - 1) {
        record.dims = 2;
        record.shape[1] = (int64_t)t->width;
    }
    return record;
}

static ls_status table_restore(table *t, const ls_checkpoint *checkpoint) {
    int64_t length = ls_checkpoint_length(checkpoint, t->columns[0].path);
    if (length < 0)
        return ls_fail(LS_BAD_DATA, "%s: found no array %s, expected the history",
                       ls_checkpoint_path(checkpoint), t->columns[0].path);
    LS_TRY(table_reserve(t, (size_t)length));
    t->length = (size_t)length;
    for (int i = 0; i < t->column_count; i++) {
        ls_record record = table_record(t, i);
        LS_TRY(ls_checkpoint_read(checkpoint, &record));
    }
    return LS_OK;
}

static void tables_start(table tables[TABLES], size_t tensor_count) {
    memset(tables, 0, TABLES * sizeof *tables);
    tables[STEPS] = (table){.columns = ls_step_columns, .column_count = LS_STEP_COLUMNS, .width = 1};
    tables[EPOCHS] = (table){.columns = ls_epoch_columns, .column_count = LS_EPOCH_COLUMNS, .width = 1};
    tables[TESTS] = (table){.columns = ls_test_columns, .column_count = LS_TEST_ROW_COLUMNS, .width = 1};
    tables[TRAIL] = (table){
        .columns = ls_trail_columns, .column_count = LS_TRAIL_COLUMNS, .matrix = 1, .width = tensor_count};
}

static void tables_release(table tables[TABLES]) {
    for (int i = 0; i < TABLES; i++) table_release(&tables[i]);
}

/* ---- the history ---- */

static const char *const test_paths[LS_TEST_COLUMNS] = {LS_HISTORY "test/loss", LS_HISTORY "test/accuracy"};

static ls_status join_lines(const char *const *names, int count, char **out) {
    size_t length = 1;
    for (int i = 0; i < count; i++) length += strlen(names[i]) + 1;
    LS_TRY(ls_calloc(out, length, 1, "the names of the trail"));
    char *at = *out;
    for (int i = 0; i < count; i++) {
        size_t size = strlen(names[i]);
        memcpy(at, names[i], size);
        at += size;
        if (i + 1 < count) *at++ = '\n';
    }
    return LS_OK;
}

/* A fact may hold whatever a system call gave; it must not keep the metrics from being written. */
static void make_plain(char *text) {
    if (strlen(text) > LS_H5_TEXT_LIMIT) text[LS_H5_TEXT_LIMIT] = '\0';
    if (ls_h5_text_ok(text, strlen(text))) return;
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f) *text = '?';
}

static ls_status copy_facts(ls_metrics *metrics, const ls_fact *facts, int count) {
    LS_TRY(ls_calloc(&metrics->fact_names, (size_t)count, sizeof(char *), "facts"));
    LS_TRY(ls_calloc(&metrics->fact_values, (size_t)count, sizeof(char *), "facts"));
    metrics->fact_count = count;
    for (int i = 0; i < count; i++) {
        LS_TRY(ls_strdup(&metrics->fact_names[i], facts[i].name));
        LS_TRY(ls_strdup(&metrics->fact_values[i], facts[i].value));
        make_plain(metrics->fact_values[i]);
    }
    return LS_OK;
}

ls_status ls_metrics_create(const char *folder, const char *config_yaml, const ls_fact *facts, int fact_count,
                            const char *const *tensor_names, int tensor_count, ls_metrics **metrics) {
    ls_status status = LS_OK;
    size_t length = strlen(folder) + sizeof "/metrics.h5";
    *metrics = NULL;
    LS_TRY(ls_calloc(metrics, 1, sizeof **metrics, "the metrics"));
    tables_start((*metrics)->tables, (size_t)tensor_count);
    LS_TRY_GOTO(status, failed, ls_calloc(&(*metrics)->path, length, 1, "the name of the metrics"));
    snprintf((*metrics)->path, length, "%s/metrics.h5", folder);
    LS_TRY_GOTO(status, failed, ls_strdup(&(*metrics)->config, config_yaml));
    LS_TRY_GOTO(status, failed, copy_facts(*metrics, facts, fact_count));
    LS_TRY_GOTO(status, failed, join_lines(tensor_names, tensor_count, &(*metrics)->tensor_names));
    return LS_OK;
failed:
    ls_metrics_destroy(metrics);
    return status;
}

void ls_metrics_destroy(ls_metrics **metrics) {
    if (!*metrics) return;
    for (int i = 0; i < (*metrics)->fact_count; i++) {
        free((*metrics)->fact_names[i]);
        free((*metrics)->fact_values[i]);
    }
    free((*metrics)->fact_names);
    free((*metrics)->fact_values);
    free((*metrics)->tensor_names);
    free((*metrics)->config);
    free((*metrics)->path);
    tables_release((*metrics)->tables);
    free(*metrics);
    *metrics = NULL;
}

ls_status ls_metrics_add_step(ls_metrics *metrics, const ls_step_row *row) {
    metrics->unwritten = true;
    return table_append_row(&metrics->tables[STEPS], row);
}

ls_status ls_metrics_add_epoch(ls_metrics *metrics, const ls_epoch_row *row) {
    metrics->unwritten = true;
    return table_append_row(&metrics->tables[EPOCHS], row);
}

int64_t ls_metrics_epochs(const ls_metrics *metrics) {
    return (int64_t)metrics->tables[EPOCHS].length;
}

ls_status ls_metrics_add_test(ls_metrics *metrics, const ls_test_row *row) {
    metrics->unwritten = true;
    return table_append_row(&metrics->tables[TESTS], row);
}

ls_status ls_metrics_add_trail(ls_metrics *metrics, uint64_t step, uint64_t fingerprint,
                               const uint64_t *tensors) {
    const void *cells[LS_TRAIL_COLUMNS] = {&step, &fingerprint, tensors};
    metrics->unwritten = true;
    return table_append(&metrics->tables[TRAIL], cells);
}

void ls_metrics_set_test(ls_metrics *metrics, double loss, double accuracy) {
    metrics->test[0] = loss;
    metrics->test[1] = accuracy;
    metrics->has_test = 1;
    metrics->unwritten = true;
}

void ls_metrics_clear_test(ls_metrics *metrics) {
    metrics->has_test = 0;
}

static ls_record test_record(ls_metrics *metrics, int i) {
    ls_record record = {test_paths[i], LS_RECORD_F64, 1, {metrics->has_test}, &metrics->test[i]};
    return record;
}

ls_status ls_metrics_records(ls_metrics *metrics, const ls_record **records, int *count) {
    int n = 0;
    for (int t = 0; t < TABLES; t++)
        for (int i = 0; i < metrics->tables[t].column_count; i++)
            metrics->records[n++] = table_record(&metrics->tables[t], i);
    for (int i = 0; i < LS_TEST_COLUMNS; i++) metrics->records[n++] = test_record(metrics, i);
    *records = metrics->records;
    *count = n;
    return LS_OK;
}

ls_status ls_metrics_restore(ls_metrics *metrics, const ls_checkpoint *checkpoint) {
    table restored[TABLES];
    ls_metrics test = {.has_test = ls_checkpoint_length(checkpoint, test_paths[0])};
    ls_status status = LS_OK;
    tables_start(restored, metrics->tables[TRAIL].width);
    for (int t = 0; t < TABLES; t++) LS_TRY_GOTO(status, done, table_restore(&restored[t], checkpoint));
    if (test.has_test != 0) test.has_test = 1; /* any other length is then refused with a message */
    for (int i = 0; i < LS_TEST_COLUMNS; i++) {
        ls_record record = test_record(&test, i);
        LS_TRY_GOTO(status, done, ls_checkpoint_read(checkpoint, &record));
    }
    for (int t = 0; t < TABLES; t++) {
        table old = metrics->tables[t];
        metrics->tables[t] = restored[t];
        restored[t] = old;
    }
    memcpy(metrics->test, test.test, sizeof test.test);
    metrics->has_test = test.has_test;
done:
    tables_release(restored);
    return status;
}

/* ---- the file ---- */

/* What viewers of NeXus files need to plot a group: its curve, the others beside it, and what runs along x.
 */
static ls_status plot_attributes(ls_h5_file *file, const char *group, const char *title, const char *signal,
                                 const char *axis, const char *const *others, int other_count) {
    LS_TRY(ls_h5_group(file, group));
    LS_TRY(ls_h5_attribute_text(file, group, "NX_class", "NXdata"));
    LS_TRY(ls_h5_attribute_text(file, group, "title", title));
    LS_TRY(ls_h5_attribute_text(file, group, "signal", signal));
    LS_TRY(ls_h5_attribute_text(file, group, "axes", axis));
    return ls_h5_attribute_texts(file, group, "auxiliary_signals", others, other_count);
}

static ls_status write_groups(ls_h5_file *file) {
    static const char *const epoch_others[] = {"validation_loss", "train_accuracy", "validation_accuracy"};
    static const char *const other[] = {"accuracy"};
    LS_TRY(ls_h5_attribute_text(file, "", "format", "lockstep " LS_METRICS_KIND));
    LS_TRY(ls_h5_attribute_u64(file, "", "format_version", LS_METRICS_VERSION));
    LS_TRY(ls_h5_attribute_text(file, "", "NX_class", "NXroot"));
    LS_TRY(ls_h5_attribute_text(file, "", "default", "epoch"));
    LS_TRY(
        plot_attributes(file, "epoch", "Loss and accuracy by epoch", "train_loss", "epoch", epoch_others, 3));
    LS_TRY(plot_attributes(file, "tests", "Loss and accuracy on the test set", "loss", "epoch", other, 1));
    return plot_attributes(file, "step", "Loss and accuracy by step", "loss", "step", other, 1);
}

static ls_status write_columns(const ls_metrics *metrics, ls_h5_file *file) {
    for (int t = 0; t < TABLES; t++) {
        for (int i = 0; i < metrics->tables[t].column_count; i++) {
            ls_record record = table_record(&metrics->tables[t], i);
            record.path = ls_metrics_column_path(&metrics->tables[t].columns[i]);
            LS_TRY(ls_h5_write_record(file, &record));
        }
    }
    return ls_h5_write_text(file, "trail/names", metrics->tensor_names);
}

static ls_status write_test(const ls_metrics *metrics, ls_h5_file *file) {
    LS_TRY(ls_h5_group(file, "test"));
    if (!metrics->has_test) return LS_OK;
    LS_TRY(ls_h5_attribute_f64(file, "test", "loss", metrics->test[0]));
    return ls_h5_attribute_f64(file, "test", "accuracy", metrics->test[1]);
}

static ls_status write_facts(const ls_metrics *metrics, ls_h5_file *file) {
    ls_status status = LS_OK;
    for (int i = 0; status == LS_OK && i < metrics->fact_count; i++) {
        char path[256];
        int length = snprintf(path, sizeof path, "provenance/%s", metrics->fact_names[i]);
        if (length < 0 || (size_t)length >= sizeof path)
            return ls_fail(LS_INTERNAL, "%s: the name of a fact is too long", file->path);
        status = ls_h5_write_text(file, path, metrics->fact_values[i]);
    }
    return status;
}

static ls_status write_file(const ls_metrics *metrics) {
    ls_h5_file *file = NULL;
    ls_status status = LS_OK;
    LS_TRY_GOTO(status, done, ls_h5_create(metrics->path, &file));
    LS_TRY_GOTO(status, done, write_groups(file));
    LS_TRY_GOTO(status, done, write_columns(metrics, file));
    LS_TRY_GOTO(status, done, write_test(metrics, file));
    LS_TRY_GOTO(status, done, ls_h5_write_text(file, "config/yaml", metrics->config));
    LS_TRY_GOTO(status, done, write_facts(metrics, file));
    LS_TRY_GOTO(status, done, ls_h5_commit(file, LS_METRICS_KIND, LS_METRICS_VERSION));
done:
    ls_h5_discard(&file);
    return status;
}

bool ls_metrics_unwritten(const ls_metrics *metrics) {
    return metrics->unwritten;
}

ls_status ls_metrics_write(ls_metrics *metrics, int now) {
    double start = ls_clock();
    if (!now && start < metrics->next_write) return LS_OK;
    ls_status status = write_file(metrics);
    if (status == LS_OK) metrics->unwritten = false;
    double end = ls_clock();
    /* A long history takes longer to write, on a slow disk most of all, and must not take over the run. */
    double pause = (end - start) / write_share;
    metrics->next_write = end + (pause > write_interval ? pause : write_interval);
    return status;
}
