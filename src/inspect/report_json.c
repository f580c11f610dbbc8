/* Runs, metrics and checkpoints as one JSON object. */
#include "core/instruction_set.h"
#include "inspect/report.h"
#include "inspect/summary.h"
#include "io/hdf5.h"
#include "io/json.h"
#include "io/metrics_layout.h"

/* --- checkpoints ----------------------------------------------------------------------------------- */

static void write_tensor(ls_json *json, const ls_record *record) {
    ls_summary s = ls_summarise(record);
    ls_json_begin(json, NULL, '{');
    ls_json_text(json, "name", record->path);
    ls_json_begin(json, "shape", '[');
    for (int i = 0; i < record->dims; i++) ls_json_count(json, NULL, (uint64_t)record->shape[i]);
    ls_json_end(json, ']');
    ls_json_text(json, "dtype", ls_h5_type_name(record->type));
    ls_json_real(json, "min", s.min);
    ls_json_real(json, "max", s.max);
    ls_json_real(json, "mean", s.mean);
    ls_json_real(json, "std", s.std);
    ls_json_count(json, "not_finite", (uint64_t)s.not_finite);
    ls_json_real(json, "zero_fraction", s.zeros);
    ls_json_end(json, '}');
}

static void write_model(ls_json *json, const char *key, const ls_saved_model *model) {
    const ls_progress_mark *mark = model->mark;
    ls_json_begin(json, key, '{');
    ls_json_text(json, "kind", "checkpoint");
    ls_json_text(json, "path", model->path);
    ls_json_text(json, "seal", "verified");
    ls_json_count(json, "bytes", ls_checkpoint_size(model->checkpoint));
    ls_json_count(json, "step", mark->step);
    ls_json_count(json, "epoch", mark->epoch);
    ls_json_count(json, "batch_in_epoch", mark->batch_in_epoch);
    ls_json_bool(json, "finished", mark->finished);
    ls_json_count(json, "seed", mark->seed);
    ls_json_hash(json, "data_digest", mark->data_digest);
    ls_json_text(json, "instruction_set", ls_instruction_set_name((ls_instruction_set)mark->instruction_set));
    ls_json_count(json, "height", mark->height);
    ls_json_count(json, "width", mark->width);
    ls_json_count(json, "classes", mark->classes);
    ls_json_hash(json, "fingerprint", mark->fingerprint);
    ls_json_bool(json, "fingerprint_matches", true); /* one that does not is an error */
    ls_json_count(json, "parameters", (uint64_t)model->network->parameters.elements);
    ls_json_text(json, "configuration", model->yaml);
    ls_json_begin(json, "tensors", '[');
    for (int i = 0; i < model->state.count; i++) write_tensor(json, &model->state.records[i]);
    ls_json_end(json, ']');
    ls_json_end(json, '}');
}

/* --- metrics --------------------------------------------------------------------------------------- */

static void write_row(ls_json *json, const char *key, const ls_metrics_column *columns, int count,
                      const void *row) {
    uint64_t counter = *(const uint64_t *)row;
    ls_json_begin(json, key, '{');
    ls_json_count(json, ls_metrics_column_name(&columns[0]), counter);
    for (int i = 1; i < count; i++)
        ls_json_real(json, ls_metrics_column_name(&columns[i]),
                     *(const double *)(const void *)((const char *)row + columns[i].offset));
    ls_json_end(json, '}');
}

static void write_trail(ls_json *json, const ls_trail *trail) {
    if (trail->length == 0) {
        ls_json_null(json, "trail");
        return;
    }
    ls_json_begin(json, "trail", '{');
    ls_json_count(json, "length", (uint64_t)trail->length);
    ls_json_count(json, "first_step", trail->step[0]);
    ls_json_count(json, "last_step", trail->step[trail->length - 1]);
    ls_json_count(json, "tensors", (uint64_t)trail->tensors);
    ls_json_hash(json, "last_fingerprint", trail->fingerprint[trail->length - 1]);
    ls_json_end(json, '}');
}

static void write_metrics(ls_json *json, const char *key, const ls_metrics_file *m) {
    ls_json_begin(json, key, '{');
    ls_json_text(json, "kind", "metrics");
    ls_json_text(json, "path", m->path);
    ls_json_text(json, "seal", "verified");
    ls_json_count(json, "bytes", m->size);
    ls_json_begin(json, "provenance", '{');
    for (int i = 0; i < LS_FACTS; i++)
        if (m->facts[i]) ls_json_text(json, ls_fact_names[i], m->facts[i]);
    ls_json_end(json, '}');
    ls_json_text(json, "configuration", m->config);
    ls_json_count(json, "steps", (uint64_t)m->step_count);
    if (m->step_count > 0)
        write_row(json, "last_step", ls_step_columns, LS_STEP_COLUMNS, &m->steps[m->step_count - 1]);
    else
        ls_json_null(json, "last_step");
    ls_json_begin(json, "epochs", '[');
    for (int64_t i = 0; i < m->epoch_count; i++)
        write_row(json, NULL, ls_epoch_columns, LS_EPOCH_COLUMNS, &m->epochs[i]);
    ls_json_end(json, ']');
    ls_json_begin(json, "tests", '[');
    for (int64_t i = 0; i < m->test_count; i++)
        write_row(json, NULL, ls_test_columns, LS_TEST_ROW_COLUMNS, &m->tests[i]);
    ls_json_end(json, ']');
    if (m->has_test) {
        ls_json_begin(json, "test", '{');
        ls_json_real(json, "loss", m->test_loss);
        ls_json_real(json, "accuracy", m->test_accuracy);
        ls_json_end(json, '}');
    } else {
        ls_json_null(json, "test");
    }
    write_trail(json, &m->trail);
    ls_json_end(json, '}');
}

void ls_report_json(const ls_subject *subject, FILE *out) {
    ls_json json = {.out = out};
    if (subject->kind == LS_SUBJECT_CHECKPOINT) {
        write_model(&json, NULL, subject->model);
    } else if (subject->kind == LS_SUBJECT_METRICS) {
        write_metrics(&json, NULL, subject->metrics);
    } else {
        ls_json_begin(&json, NULL, '{');
        ls_json_text(&json, "kind", "run");
        ls_json_text(&json, "path", subject->path);
        if (subject->metrics)
            write_metrics(&json, "metrics", subject->metrics);
        else
            ls_json_null(&json, "metrics");
        if (subject->model)
            write_model(&json, "checkpoint", subject->model);
        else
            ls_json_null(&json, "checkpoint");
        ls_json_end(&json, '}');
    }
}
