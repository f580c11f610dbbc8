/* `lockstep diff`: what is compared with what. */
#include <inttypes.h>
#include <string.h>

#include "inspect/compare.h"
#include "inspect/inspect.h"

static ls_config_text config_of(const ls_subject *subject) {
    if (subject->metrics) return (ls_config_text){subject->metrics->path, subject->metrics->config};
    return (ls_config_text){subject->model->path, subject->model->yaml};
}

/* The digest of the data as 16 hexadecimal digits, or "unknown". */
static void digest_of(const ls_subject *subject, char *text, size_t size) {
    const char *fact = subject->metrics ? ls_metrics_file_fact(subject->metrics, "data_digest") : "";
    if (subject->metrics)
        snprintf(text, size, "%s", fact ? fact : "unknown");
    else
        snprintf(text, size, "%016" PRIx64, subject->model->mark->data_digest);
}

static void compare_data(const ls_subject *a, const ls_subject *b, FILE *out) {
    char digest_a[64], digest_b[64];
    digest_of(a, digest_a, sizeof digest_a);
    digest_of(b, digest_b, sizeof digest_b);
    if (strcmp(digest_a, digest_b) == 0)
        fprintf(out, "data: the same (digest %s)\n", digest_a);
    else
        fprintf(out, "data: digest %s | %s\n", digest_a, digest_b);
}

static void introduce(const char *side, const ls_subject *subject, FILE *out) {
    if (subject->metrics)
        fprintf(out, "%s: %s, %" PRId64 " steps\n", side, subject->metrics->path,
                subject->metrics->step_count);
    else
        fprintf(out, "%s: %s, step %" PRIu64 "\n", side, subject->model->path, subject->model->mark->step);
}

/* The newest checkpoints of two runs, where both are of one step of a run and as far: what a missing trail
 * leaves open. */
static ls_status compare_newest(const ls_saved_model *a, const ls_saved_model *b, FILE *out,
                                bool *different) {
    if (!a || !b || a->mark->step != b->mark->step || a->mark->finished != b->mark->finished) return LS_OK;
    fprintf(out, "checkpoints %s and %s:\n", a->path, b->path);
    return ls_compare_models(a, b, out, different);
}

static ls_status check_kinds(const ls_subject *a, const ls_subject *b) {
    for (int i = 0; i < 2; i++)
        if ((i == 0 ? a : b)->result)
            return ls_fail(LS_USAGE, "diff: %s is of eval or attack; expected two checkpoints or two runs",
                           (i == 0 ? a : b)->path);
    bool file_a = a->kind == LS_SUBJECT_CHECKPOINT, file_b = b->kind == LS_SUBJECT_CHECKPOINT;
    if (file_a != file_b)
        return ls_fail(LS_USAGE,
                       "diff: %s is a checkpoint and %s a run; expected two checkpoints or two runs",
                       file_a ? a->path : b->path, file_a ? b->path : a->path);
    for (int i = 0; i < 2; i++) {
        const ls_subject *s = i == 0 ? a : b;
        if (s->kind == LS_SUBJECT_RUN && !s->metrics)
            return ls_fail(LS_BAD_DATA, "%s: found no metrics.h5, expected those of a run", s->path);
    }
    return LS_OK;
}

static ls_status compare(const ls_subject *a, const ls_subject *b, FILE *out, bool *different) {
    ls_config_text config_a, config_b;
    LS_TRY(check_kinds(a, b));
    config_a = config_of(a);
    config_b = config_of(b);
    introduce("A", a, out);
    introduce("B", b, out);
    compare_data(a, b, out);
    LS_TRY(ls_compare_configs(&config_a, &config_b, out));
    if (!a->metrics) return ls_compare_models(a->model, b->model, out, different);
    ls_compare_runs(a->metrics, b->metrics, out, different);
    return compare_newest(a->model, b->model, out, different);
}

ls_status ls_diff(const char *path_a, const char *path_b, FILE *out) {
    ls_subject a = {0}, b = {0};
    bool different = false;
    ls_status status = ls_subject_read(path_a, &a);
    if (status == LS_OK) status = ls_subject_read(path_b, &b);
    if (status == LS_OK) status = compare(&a, &b, out, &different);
    ls_subject_destroy(&a);
    ls_subject_destroy(&b);
    return status == LS_OK && different ? LS_DIFFERENT : status;
}
