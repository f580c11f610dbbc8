/* The loop around the step. */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "io/checkpoint.h"
#include "io/metrics.h"
#include "train/facts.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* What rank 0 keeps beside the trainer. */
typedef struct run {
    ls_trainer *trainer;
    const char *config_path;
    char *folder;
    char *config_yaml;
    ls_metrics *metrics; /* rank 0 only */
    ls_progress progress;
} run;

static bool is_root(const run *r) { return r->trainer->comm->rank == 0; }

static double mean(double sum, int64_t count) { return count > 0 ? sum / (double)count : (double)NAN; }

/* --- the record, on rank 0 ------------------------------------------------------------------------------------------ */

static ls_status open_metrics(run *r) {
    const ls_trainer *t = r->trainer;
    const char **names;
    ls_facts facts;
    LS_TRY(ls_calloc(&names, (size_t)t->state.count, sizeof *names, "the metrics"));
    for (int i = 0; i < t->state.count; i++) names[i] = t->state.records[i].path;
    ls_status status = ls_facts_collect(t, r->config_path, &facts);
    if (status == LS_OK)
        status = ls_metrics_create(r->folder, r->config_yaml, facts.list, facts.count, names, t->state.count,
                                   &r->metrics);
    free(names);
    return status;
}

static ls_status open_run(run *r) {
    const ls_trainer *t = r->trainer;
    char *all;
    LS_TRY(ls_run_folder_prepare(r->folder, t->options.overwrite));
    LS_TRY(ls_config_resolve(t->config, &all));
    ls_status status = ls_run_folder_write(r->folder, "config.yaml", all);
    free(all);
    LS_TRY(status);
    return open_metrics(r);
}

static ls_status record_step(run *r) {
    ls_trainer *t = r->trainer;
    const ls_score *s = &t->batch_score;
    int64_t interval = t->options.trail_interval;
    ls_step_row row = {(uint64_t)t->step, mean(s->loss, s->count), mean(s->correct, s->count),
                       ls_trainer_learning_rate(t)};
    LS_TRY(ls_metrics_add_step(r->metrics, &row));
    if (interval == 0 || t->step % interval != 0) return LS_OK;
    uint64_t fingerprint = ls_trainer_fingerprint(t);
    return ls_metrics_add_trail(r->metrics, (uint64_t)t->step, fingerprint, t->state.hashes);
}

static ls_status save_checkpoint(run *r, uint64_t fingerprint) {
    ls_trainer *t = r->trainer;
    const ls_record *history;
    ls_record *all;
    int history_count;
    ls_progress_mark mark = {.step = (uint64_t)t->step,
                             .epoch = (uint64_t)t->epoch,
                             .batch_in_epoch = (uint64_t)t->batch_in_epoch,
                             .seed = (uint64_t)t->options.seed,
                             .data_digest = t->data.digest,
                             .fingerprint = fingerprint,
                             .finished = true,
                             .height = (uint64_t)t->data.train.height,
                             .width = (uint64_t)t->data.train.width,
                             .classes = (uint64_t)t->data.train.classes};
    LS_TRY(ls_metrics_records(r->metrics, &history, &history_count));
    LS_TRY(ls_calloc(&all, (size_t)(t->state.count + history_count), sizeof *all, "a checkpoint"));
    memcpy(all, t->state.records, (size_t)t->state.count * sizeof *all);
    memcpy(all + t->state.count, history, (size_t)history_count * sizeof *all);
    ls_status status =
        ls_checkpoint_write(r->folder, &mark, r->config_yaml, all, t->state.count + history_count, NULL);
    free(all);
    return status;
}

/* --- the run -------------------------------------------------------------------------------------------------------- */

/* A failure of the record on rank 0 is only known there; it is agreed at the ends of epochs. */
static ls_status end_epoch(run *r, ls_status recorded) {
    ls_trainer *t = r->trainer;
    ls_score validation;
    ls_epoch_row row = {.epoch = (uint64_t)t->epoch,
                        .train_loss = mean(t->epoch_score.loss, t->epoch_score.count),
                        .train_accuracy = mean(t->epoch_score.correct, t->epoch_score.count),
                        .learning_rate = ls_trainer_learning_rate(t)};
    LS_TRY(ls_comm_agree(t->comm, recorded));
    LS_TRY(ls_collect_statistics(t));
    LS_TRY(ls_evaluate(t, &t->data.train, t->data.split + t->data.training, t->data.validation, &validation));
    row.validation_loss = mean(validation.loss, validation.count);
    row.validation_accuracy = mean(validation.correct, validation.count);
    ls_progress_epoch(&r->progress, t, &row);
    if (is_root(r)) {
        recorded = ls_metrics_add_epoch(r->metrics, &row);
        if (recorded == LS_OK) recorded = ls_metrics_write(r->metrics, 1);
    }
    return ls_comm_agree(t->comm, recorded);
}

static bool finished(const ls_trainer *t) {
    return t->epoch >= t->options.epochs || (t->options.steps > 0 && t->step >= t->options.steps);
}

static ls_status train_loop(run *r) {
    ls_trainer *t = r->trainer;
    ls_status recorded = LS_OK;
    ls_progress_begin(&r->progress, t);
    while (!finished(t)) {
        LS_TRY(ls_train_step(t));
        if (is_root(r) && recorded == LS_OK) recorded = record_step(r);
        if (is_root(r) && recorded == LS_OK) recorded = ls_metrics_write(r->metrics, 0);
        ls_progress_step(&r->progress, t);
        if (t->batch_in_epoch == 0) {
            LS_TRY(end_epoch(r, recorded));
            recorded = LS_OK;
        }
    }
    return ls_comm_agree(t->comm, recorded);
}

/* The test set, once, at the end. */
static ls_status test(run *r) {
    ls_trainer *t = r->trainer;
    ls_score score;
    uint32_t *all;
    int64_t count = t->data.test.count;
    LS_TRY(ls_comm_agree(t->comm, ls_calloc(&all, (size_t)count, sizeof *all, "the test samples")));
    for (int64_t i = 0; i < count; i++) all[i] = (uint32_t)i;
    ls_status status = ls_evaluate(t, &t->data.test, all, count, &score);
    free(all);
    LS_TRY(status);
    if (!is_root(r)) return LS_OK;
    ls_metrics_set_test(r->metrics, mean(score.loss, count), mean(score.correct, count));
    if (t->options.progress != LS_PROGRESS_NONE)
        printf("test loss %.4f acc %.4f\n", mean(score.loss, count), mean(score.correct, count));
    return LS_OK;
}

static ls_status finish(run *r) {
    ls_trainer *t = r->trainer;
    uint64_t fingerprint = ls_trainer_fingerprint(t);
    ls_status status = LS_OK;
    t->comm->phase = "writing the checkpoint";
    if (is_root(r)) {
        status = ls_metrics_write(r->metrics, 1);
        if (status == LS_OK) status = save_checkpoint(r, fingerprint);
    }
    LS_TRY(ls_comm_agree(t->comm, status));
    if (is_root(r)) {
        printf("run %s\nfingerprint %016llx\n", r->folder, (unsigned long long)fingerprint);
        if (fflush(stdout) != 0) ls_log(LS_LOG_WARNING, "standard output cannot be written");
    }
    return LS_OK;
}

static void introduce(const run *r) {
    const ls_trainer *t = r->trainer;
    if (!is_root(r) || t->options.progress == LS_PROGRESS_NONE) return;
    printf("lockstep: %s on %s (%s): %lld training, %lld validation, %lld test samples\n", r->config_path, t->data.name,
           t->data.folder, (long long)t->data.training, (long long)t->data.validation, (long long)t->data.test.count);
    printf("%lld parameters, batch %lld in %lld shards on %d rank%s of %lld thread%s\n",
           (long long)t->network->parameters.elements, (long long)t->options.batch, (long long)t->options.shards,
           t->comm->size, t->comm->size == 1 ? "" : "s", (long long)t->options.threads,
           t->options.threads == 1 ? "" : "s");
    fflush(stdout);
}

static ls_status run_all(run *r) {
    ls_trainer *t = r->trainer;
    ls_status status = *t->options.output ? ls_strdup(&r->folder, t->options.output)
                                          : ls_run_folder_default(r->config_path, &r->folder);
    if (status == LS_OK) status = ls_config_resolve_result(t->config, &r->config_yaml);
    if (status == LS_OK && is_root(r)) status = open_run(r);
    LS_TRY(ls_comm_agree(t->comm, status));
    introduce(r);
    LS_TRY(train_loop(r));
    LS_TRY(ls_collect_statistics(t));
    LS_TRY(test(r));
    return finish(r);
}

ls_status ls_train(ls_comm *comm, ls_config *config, const char *config_path) {
    run r = {.config_path = config_path};
    LS_TRY(ls_trainer_create(comm, config, &r.trainer));
    comm->timeout = r.trainer->options.timeout;
    ls_status status = run_all(&r);
    ls_metrics_destroy(&r.metrics);
    free(r.folder);
    free(r.config_yaml);
    ls_trainer_destroy(&r.trainer);
    return status;
}
