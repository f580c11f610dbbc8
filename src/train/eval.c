/* `lockstep eval`: what a checkpoint's model makes of the data. */
#include "train/eval.h"

#include <stdio.h>
#include <stdlib.h>

#include "train/restore.h"
#include "train/result_file.h"
#include "train/scores.h"
#include "train/signals.h"

enum { VALIDATION, TEST, PARTS };

static void print_text(const ls_restored *r, const ls_scores *parts) {
    const ls_data *data = &r->trainer->data;
    if (r->other_data)
        printf("note: %s was trained on other data than %s (%s)\n", r->path, data->folder, data->name);
    for (int i = 0; i < PARTS; i++) ls_scores_print_line(&parts[i], stdout);
    for (int i = 0; i < PARTS; i++) ls_scores_print_details(&parts[i], stdout);
}

void ls_restored_write_json(const ls_restored *r, ls_json *json) {
    ls_json_text(json, "checkpoint", r->path);
    ls_json_count(json, "step", r->mark.step);
    ls_json_hash(json, "fingerprint", r->mark.fingerprint);
    ls_json_text(json, "data_set", r->trainer->data.name);
    ls_json_hash(json, "data_digest", r->trainer->data.digest);
    ls_json_bool(json, "other_data_than_trained_on", r->other_data);
}

static void print_json(const ls_restored *r, const ls_scores *parts) {
    ls_json json = {.out = stdout};
    ls_json_begin(&json, NULL, '{');
    ls_restored_write_json(r, &json);
    for (int i = 0; i < PARTS; i++) ls_scores_write_json(&parts[i], &json);
    ls_json_end(&json, '}');
    putchar('\n');
}

static ls_status write_file(const ls_restored *r, const ls_scores *parts, const char *path) {
    ls_h5_file *file;
    LS_TRY(ls_result_file_create(path, LS_EVALUATION_KIND, r, &file));
    ls_status status = LS_OK;
    for (int i = 0; i < PARTS && status == LS_OK; i++) status = ls_scores_write_hdf5(&parts[i], file);
    if (status == LS_OK) status = ls_result_file_commit(file, LS_EVALUATION_KIND);
    ls_h5_discard(&file);
    return status;
}

/* Every sample of the test set. */
static ls_status collect_test(ls_trainer *t, uint32_t **samples, ls_scores *scores) {
    int64_t count = t->data.test.count;
    LS_TRY(ls_comm_agree(t->comm, ls_calloc(samples, (size_t)count, sizeof **samples, "the test samples")));
    for (int64_t i = 0; i < count; i++) (*samples)[i] = (uint32_t)i;
    return ls_scores_collect(t, "test", &t->data.test, *samples, count, scores);
}

static ls_status evaluate(const ls_restored *r, const ls_look *look) {
    ls_trainer *t = r->trainer;
    ls_scores parts[PARTS] = {0};
    uint32_t *samples = NULL;
    ls_status status = ls_scores_collect(t, "validation", &t->data.train, t->data.split + t->data.training,
                                         t->data.validation, &parts[VALIDATION]);
    if (status == LS_OK) status = collect_test(t, &samples, &parts[TEST]);
    if (status == LS_OK && t->comm->rank == 0) (look->json ? print_json : print_text)(r, parts);
    if (status == LS_OK && look->output.path)
        status = ls_comm_agree(t->comm, t->comm->rank == 0 ? write_file(r, parts, look->output.path) : LS_OK);
    for (int i = 0; i < PARTS; i++) ls_scores_destroy(&parts[i]);
    free(samples);
    return status;
}

ls_status ls_eval(ls_comm *comm, const ls_look *look) {
    ls_restored restored;
    LS_TRY(ls_comm_agree(comm, ls_signals_install()));
    LS_TRY(ls_comm_agree(comm, comm->rank == 0 ? ls_output_check(&look->output, LS_EVALUATION_KIND) : LS_OK));
    LS_TRY(ls_restore(comm, "eval", look->checkpoint, look->overrides, look->override_count, &restored));
    ls_status status = evaluate(&restored, look);
    ls_restored_destroy(&restored);
    return status;
}
