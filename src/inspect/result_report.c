/* What eval and attack found out, from their files, told in two ways. */
#include <inttypes.h>

#include "core/elementary.h"
#include "inspect/report.h"
#include "io/json.h"
#include "train/scores.h"

/* --- text ------------------------------------------------------------------------------------------ */

static void print_part(const ls_saved_part *part, FILE *out) {
    fprintf(out, "  %-16s %" PRIu64 " samples: loss %.6f, accuracy %.4f +- %.4f\n", part->name, part->samples,
            ls_one_nan(part->loss), ls_one_nan(part->accuracy), ls_one_nan(part->uncertainty));
    fprintf(out, "    class  samples  accuracy      predicted as 0, 1, ..\n");
    for (int64_t c = 0; c < part->classes; c++) {
        int64_t n = ls_confusion_samples(part->confusion, part->classes, c);
        int64_t correct = part->confusion[c * part->classes + c];
        fprintf(out, "    %5" PRId64 "  %7" PRId64 "  ", c, n);
        if (n > 0) fprintf(out, "  %.4f", (double)correct / (double)n);
        fprintf(out, "%*s", n > 0 ? 6 : 14, "");
        for (int64_t k = 0; k < part->classes; k++)
            fprintf(out, " %5" PRId64, part->confusion[c * part->classes + k]);
        fprintf(out, "\n");
    }
    if (part->worst > 0)
        fprintf(out, "    worst mistakes:  sample  class  predicted  probability     loss\n");
    for (int64_t i = 0; i < part->worst; i++)
        fprintf(out, "    %23" PRId64 "  %5" PRId64 "  %9" PRId64 "  %11.6f  %7.4f\n", part->sample[i],
                part->class[i], part -> predicted[i], part -> probability[i], part -> mistake_loss[i]);
}

static void print_attack(const ls_saved_result *r, FILE *out) {
    fprintf(out, "  samples          %" PRIu64 "\n", r->samples);
    fprintf(out, "    epsilon       loss  accuracy            example images of the classes");
    for (int64_t k = 0; k < r->examples; k++) fprintf(out, " %" PRId64, r->class[k]);
    fprintf(out, " are taken for\n");
    for (int64_t i = 0; i < r->epsilons; i++) {
        fprintf(
            out, "  %9g  %9.6f  %.4f +- %.4f   ", r->epsilon[i], ls_one_nan(r->loss[i]),
            ls_one_nan(r->accuracy[i]),
            ls_one_nan(ls_accuracy_uncertainty(r->accuracy[i] * (double)r->samples, (int64_t)r->samples)));
        for (int64_t k = 0; k < r->examples; k++)
            fprintf(out, " %" PRId64, r->predicted[i * r->examples + k]);
        fprintf(out, "\n");
    }
}

void ls_result_report_text(const ls_saved_result *r, FILE *out) {
    fprintf(out, "%s %s\n", r->kind, r->path);
    fprintf(out, "  seal             verified, %" PRIu64 " bytes\n", r->size);
    fprintf(out, "  checkpoint       step %" PRIu64 ", fingerprint %016" PRIx64 "\n", r->step,
            r->fingerprint);
    fprintf(out, "  data             digest %016" PRIx64 "\n", r->data_digest);
    for (int i = 0; i < LS_SAVED_PARTS; i++)
        if (r->parts[i].there) print_part(&r->parts[i], out);
    if (r->epsilons > 0) print_attack(r, out);
    fprintf(out, "  configuration\n");
    ls_report_indented(r->config, out);
}

/* --- JSON: the keys are those of eval --json and attack --json ------------------------------------- */

static void write_part(const ls_saved_part *part, ls_json *json) {
    if (!part->there) {
        ls_json_null(json, part->name);
        return;
    }
    ls_json_begin(json, part->name, '{');
    ls_json_count(json, "samples", part->samples);
    ls_json_real(json, "loss", part->loss);
    ls_json_real(json, "accuracy", part->accuracy);
    ls_json_real(json, "uncertainty", part->uncertainty);
    ls_confusion_json(json, part->confusion, part->classes);
    ls_json_begin(json, "worst_mistakes", '[');
    for (int64_t i = 0; i < part->worst; i++) {
        ls_json_begin(json, NULL, '{');
        ls_json_count(json, "sample", (uint64_t)part->sample[i]);
        ls_json_count(json, "class", (uint64_t)part->class[i]);
        ls_json_count(json, "predicted", (uint64_t)part->predicted[i]);
        ls_json_real(json, "probability", part->probability[i]);
        ls_json_real(json, "loss", part->mistake_loss[i]);
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
    ls_json_end(json, '}');
}

static void write_attack(const ls_saved_result *r, ls_json *json) {
    ls_json_count(json, "samples", r->samples);
    ls_json_begin(json, "curve", '[');
    for (int64_t i = 0; i < r->epsilons; i++) {
        ls_json_begin(json, NULL, '{');
        ls_json_real(json, "epsilon", r->epsilon[i]);
        ls_json_real(json, "loss", r->loss[i]);
        ls_json_real(json, "accuracy", r->accuracy[i]);
        ls_json_real(json, "uncertainty",
                     ls_accuracy_uncertainty(r->accuracy[i] * (double)r->samples, (int64_t)r->samples));
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
    ls_json_begin(json, "examples", '[');
    for (int64_t k = 0; k < r->examples; k++) {
        ls_json_begin(json, NULL, '{');
        ls_json_count(json, "sample", (uint64_t)r->sample[k]);
        ls_json_count(json, "class", (uint64_t)r->class[k]);
        ls_json_begin(json, "predicted", '[');
        for (int64_t i = 0; i < r->epsilons; i++)
            ls_json_count(json, NULL, (uint64_t)r->predicted[i * r->examples + k]);
        ls_json_end(json, ']');
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
}

void ls_result_report_json(const ls_saved_result *r, FILE *out) {
    ls_json json = {.out = out};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "kind", r->kind);
    ls_json_text(&json, "path", r->path);
    ls_json_text(&json, "seal", "verified");
    ls_json_count(&json, "bytes", r->size);
    ls_json_count(&json, "step", r->step);
    ls_json_hash(&json, "fingerprint", r->fingerprint);
    ls_json_hash(&json, "data_digest", r->data_digest);
    ls_json_text(&json, "configuration", r->config);
    if (r->epsilons > 0)
        write_attack(r, &json);
    else
        for (int i = 0; i < LS_SAVED_PARTS; i++) write_part(&r->parts[i], &json);
    ls_json_end(&json, '}');
}
