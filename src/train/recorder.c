#include "train/recorder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/metrics_file.h"
#include "train/facts.h"
#include "train/recorded_config.h"
#include "train/run_folder.h"

static ls_status create_metrics(ls_recorder *r, const char *config_path) {
    const ls_trainer *t = r->trainer;
    const char **names;
    ls_facts facts;
    LS_TRY(ls_calloc(&names, (size_t)t->state.count, sizeof *names, "the metrics"));
    for (int i = 0; i < t->state.count; i++) names[i] = t->state.records[i].path;
    ls_status status = ls_facts_collect(t, config_path, &facts);
    if (status == LS_OK)
        status = ls_metrics_create(r->folder, r->config_yaml, facts.list, facts.count, names, t->state.count,
                                   &r->metrics);
    free(names);
    return status;
}

static ls_status write_config(const ls_recorder *r) {
    char *all;
    LS_TRY(ls_config_resolve(r->trainer->config, &all));
    ls_status status = ls_run_folder_write(r->folder, "config.yaml", all);
    free(all);
    return status;
}

/* Does the folder hold the beginning of this very run, which came to no checkpoint? */
static bool holds_this_run(const ls_recorder *r) {
    char path[4096];
    ls_metrics_file *metrics;
    int length = snprintf(path, sizeof path, "%s/metrics.h5", r->folder);
    if (length < 0 || length >= (int)sizeof path || ls_metrics_file_read(path, &metrics) != LS_OK)
        return false;
    char *recorded = NULL;
    bool same =
        ls_recorded_config(metrics->config, &recorded) == LS_OK && strcmp(recorded, r->config_yaml) == 0;
    free(recorded);
    ls_metrics_file_destroy(&metrics);
    return same;
}

/* A folder that the run goes on in may hold it; any other must be empty of runs. */
static ls_status prepare_folder(const ls_recorder *r, bool from_checkpoint) {
    const ls_options *o = &r->trainer->options;
    bool automatic = strcmp(o->resume, "auto") == 0;
    if (from_checkpoint && (automatic || ls_run_folder_contains(r->folder, o->resume))) return LS_OK;
    return ls_run_folder_clear(r->folder, o->overwrite || (automatic && holds_this_run(r)));
}

ls_status ls_recorder_open(ls_recorder *r, const char *config_path, ls_resumed *resumed,
                           bool *from_checkpoint) {
    ls_trainer *t = r->trainer;
    ls_checkpoint *checkpoint = NULL;
    *resumed = (ls_resumed){.best = {0, (double)INFINITY}};
    LS_TRY(ls_run_folder_open(r->folder, &r->lock));
    if (strcmp(t->options.resume, "none") != 0)
        LS_TRY(ls_checkpoints_find(r->folder, t->options.resume, &checkpoint));
    *from_checkpoint = checkpoint != NULL;
    ls_status status = create_metrics(r, config_path);
    if (status == LS_OK && checkpoint)
        status = ls_checkpoints_load(checkpoint, t, r->config_yaml, r->metrics, resumed);
    ls_checkpoint_close(&checkpoint);
    return status == LS_OK ? prepare_folder(r, *from_checkpoint) : status;
}

ls_status ls_recorder_begin(ls_recorder *r) {
    ls_metrics_clear_test(r->metrics);
    /* the metrics first: by them a run that dies before its first checkpoint is known again */
    LS_TRY(ls_metrics_write(r->metrics, 1));
    return write_config(r);
}

void ls_recorder_close(ls_recorder *r) {
    ls_metrics_destroy(&r->metrics);
    if (r->lock >= 0) close(r->lock); /* nothing was written through it */
    free(r->folder);
    free(r->config_yaml);
    *r = (ls_recorder){.lock = -1};
}

ls_status ls_recorder_step(ls_recorder *r) {
    ls_trainer *t = r->trainer;
    const ls_score *s = &t->batch_score;
    int64_t interval = t->options.trail_interval;
    ls_step_row row = {(uint64_t)t->step, ls_mean(s->loss, s->count), ls_mean(s->correct, s->count),
                       t->batch_rate};
    LS_TRY(ls_metrics_add_step(r->metrics, &row));
    if (interval > 0 && t->step % interval == 0) {
        uint64_t fingerprint = ls_trainer_fingerprint(t);
        LS_TRY(ls_metrics_add_trail(r->metrics, (uint64_t)t->step, fingerprint, t->state.hashes));
    }
    return ls_metrics_write(r->metrics, 0);
}

ls_status ls_recorder_epoch(ls_recorder *r, const ls_epoch_row *row) {
    LS_TRY(ls_metrics_add_epoch(r->metrics, row));
    return ls_metrics_write(r->metrics, 1);
}

ls_status ls_recorder_test(ls_recorder *r, const ls_test_row *row) {
    return ls_metrics_add_test(r->metrics, row);
}

void ls_recorder_note_best(ls_recorder *r, double validation_loss) {
    if (validation_loss < r->best.loss) /* false for NaN: without a validation set there is no best */
        r->best = (ls_best){(double)r->trainer->step, validation_loss};
}

ls_status ls_recorder_save(ls_recorder *r, bool finished) {
    return ls_checkpoints_save(r->folder, r->trainer, r->config_yaml, r->metrics, &r->best, finished);
}

bool ls_recorder_due(const ls_recorder *r) {
    const ls_trainer *t = r->trainer;
    int64_t interval = t->options.checkpoint_interval;
    return interval > 0 &&
           (t->step % interval == 0 || (r->best.step > 0 && (int64_t)r->best.step == t->step));
}
