/* Runs, metrics and checkpoints for people. */
#include <inttypes.h>
#include <string.h>

#include "core/elementary.h"
#include "core/instruction_set.h"
#include "inspect/report.h"
#include "inspect/summary.h"
#include "io/hdf5.h"

void ls_report_indented(const char *text, FILE *out) {
    while (*text) {
        int length = (int)strcspn(text, "\n");
        fprintf(out, "    %.*s\n", length, text);
        text += length + (text[length] == '\n');
    }
}

/* --- checkpoints ----------------------------------------------------------------------------------- */

static void print_tensors(const ls_state *state, FILE *out) {
    int width = 6;
    for (int i = 0; i < state->count; i++)
        if ((int)strlen(state->records[i].path) > width) width = (int)strlen(state->records[i].path);
    fprintf(out, "    %-*s  %-20s %12s %12s %12s %12s %10s %7s\n", width, "tensor", "type", "min", "max",
            "mean", "std", "not finite", "zeros");
    for (int i = 0; i < state->count; i++) {
        const ls_record *record = &state->records[i];
        ls_h5_shape_text type = ls_h5_describe(ls_h5_type_name(record->type), record->dims, record->shape);
        ls_summary s = ls_summarise(record);
        fprintf(out, "    %-*s  %-20s %12.5g %12.5g %12.5g %12.5g %10" PRId64 " %6.1f%%\n", width,
                record->path, type.text, ls_one_nan(s.min), ls_one_nan(s.max), ls_one_nan(s.mean),
                ls_one_nan(s.std), s.not_finite, 100 * s.zeros);
    }
}

static void print_model(const ls_saved_model *model, FILE *out) {
    const ls_progress_mark *mark = model->mark;
    fprintf(out, "checkpoint %s\n", model->path);
    fprintf(out, "  seal             verified, %" PRIu64 " bytes\n", ls_checkpoint_size(model->checkpoint));
    fprintf(out, "  step             %" PRIu64 ", after %" PRIu64 " epochs and %" PRIu64 " batches%s\n",
            mark->step, mark->epoch, mark->batch_in_epoch, mark->finished ? "; the run is finished" : "");
    fprintf(out, "  seed             %" PRIu64 "\n", mark->seed);
    fprintf(out, "  instructions     %s\n",
            ls_instruction_set_name((ls_instruction_set)mark->instruction_set));
    fprintf(out,
            "  data             digest %016" PRIx64 ", images of %" PRIu64 " x %" PRIu64 " in %" PRIu64
            " classes\n",
            mark->data_digest, mark->height, mark->width, mark->classes);
    fprintf(out, "  fingerprint      %016" PRIx64 ", which matches the tensors\n", mark->fingerprint);
    fprintf(out, "  parameters       %" PRId64 "\n", model->network->parameters.elements);
    fprintf(out, "  tensors          %d\n", model->state.count);
    print_tensors(&model->state, out);
    fprintf(out, "  configuration\n");
    ls_report_indented(model->yaml, out);
}

/* --- metrics --------------------------------------------------------------------------------------- */

static void print_epochs(const ls_metrics_file *m, FILE *out) {
    fprintf(out, "  epochs           %" PRId64 "\n", m->epoch_count);
    if (m->epoch_count == 0) return;
    fprintf(out, "    %6s %12s %9s %12s %9s %12s %9s %9s %6s\n", "epoch", "train loss", "accuracy",
            "valid. loss", "accuracy", "learn. rate", "seconds", "images/s", "comm.");
    for (int64_t i = 0; i < m->epoch_count; i++) {
        const ls_epoch_row *row = &m->epochs[i];
        fprintf(out, "    %6" PRIu64 " %12.6g %9.4f %12.6g %9.4f %12.6g %9.2f %9.0f %5.1f%%\n", row->epoch,
                ls_one_nan(row->train_loss), ls_one_nan(row->train_accuracy),
                ls_one_nan(row->validation_loss), ls_one_nan(row->validation_accuracy), row->learning_rate,
                row->seconds, row->images_per_second, 100 * row->communication_share);
    }
}

static void print_tests(const ls_metrics_file *m, FILE *out) {
    if (m->test_count > 0)
        fprintf(out, "  tests            %" PRId64 "\n    %6s %12s %9s\n", m->test_count, "epoch", "loss",
                "accuracy");
    for (int64_t i = 0; i < m->test_count; i++)
        fprintf(out, "    %6" PRIu64 " %12.6g %9.4f\n", m->tests[i].epoch, ls_one_nan(m->tests[i].loss),
                ls_one_nan(m->tests[i].accuracy));
}

static void print_trail(const ls_trail *trail, FILE *out) {
    if (trail->length == 0)
        fprintf(out, "  trail            none (trail_interval=0)\n");
    else
        fprintf(out,
                "  trail            %" PRId64 " steps from %" PRIu64 " to %" PRIu64 ", %" PRId64
                " tensors; the last fingerprint is %016" PRIx64 "\n",
                trail->length, trail->step[0], trail->step[trail->length - 1], trail->tensors,
                trail->fingerprint[trail->length - 1]);
}

static void print_metrics(const ls_metrics_file *m, FILE *out) {
    fprintf(out, "metrics %s\n", m->path);
    fprintf(out, "  seal             verified, %" PRIu64 " bytes\n", m->size);
    for (int i = 0; i < LS_FACTS; i++)
        if (m->facts[i]) fprintf(out, "  %-16s %s\n", ls_fact_names[i], m->facts[i]);
    fprintf(out, "  steps            %" PRId64 "\n", m->step_count);
    if (m->step_count > 0) {
        const ls_step_row *row = &m->steps[m->step_count - 1];
        fprintf(out, "  last step        %" PRIu64 ": loss %.6g, accuracy %.4f\n", row->step,
                ls_one_nan(row->loss), ls_one_nan(row->accuracy));
    }
    print_epochs(m, out);
    print_tests(m, out);
    if (m->has_test)
        fprintf(out, "  test             loss %.6f, accuracy %.4f\n", ls_one_nan(m->test_loss),
                ls_one_nan(m->test_accuracy));
    else
        fprintf(out, "  test             not yet\n");
    print_trail(&m->trail, out);
    fprintf(out, "  configuration\n");
    ls_report_indented(m->config, out);
}

void ls_report_text(const ls_subject *subject, FILE *out) {
    if (subject->kind == LS_SUBJECT_RUN) fprintf(out, "run %s\n", subject->path);
    if (subject->metrics)
        print_metrics(subject->metrics, out);
    else if (subject->kind == LS_SUBJECT_RUN)
        fprintf(out, "no metrics yet\n");
    if (subject->model)
        print_model(subject->model, out);
    else if (subject->kind == LS_SUBJECT_RUN)
        fprintf(out, "no checkpoint yet\n");
}
