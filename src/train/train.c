/* The loop around the step. */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "train/progress.h"
#include "train/recorder.h"
#include "train/run_folder.h"
#include "train/signals.h"
#include "train/timeline.h"
#include "train/trainer.h"

typedef struct run {
    ls_trainer *trainer;
    const char *config_path;
    ls_recorder recorder;
    ls_progress progress;
    const char *trace; /* file for a timeline, or NULL */
    ls_timeline *timeline;
    int traced;          /* steps that are in it */
    bool evaluation_due; /* the run was stopped in the evaluation of the epoch that has ended */
} run;

enum { TRACED_STEPS = 10 };

static bool is_root(const run *r) {
    return r->trainer->comm->rank == 0;
}

/* Rank 0's part of the record. A failure is known on rank 0 alone until all agree, at the latest in the next
 * step's sum; nothing further is recorded until then, so that the message that is told is that of the
 * failure. */
#define RECORD(r, call)                                                                                      \
    do {                                                                                                     \
        if (is_root(r) && (r)->trainer->trouble == LS_OK) (r)->trainer->trouble = (call);                    \
    } while (0)

static bool finished(const ls_trainer *t) {
    return t->epoch >= t->options.epochs || (t->options.steps > 0 && t->step >= t->options.steps);
}

static ls_test_row test_row(const ls_trainer *t, const ls_score *score) {
    return (ls_test_row){(uint64_t)t->epoch, ls_mean(score->loss, score->count),
                         ls_mean(score->correct, score->count)};
}

/* Is a test due after the epoch that has just ended? */
static bool test_due(const ls_trainer *t) {
    int64_t interval = t->options.test_interval;
    return interval > 0 && t->batch_in_epoch == 0 && t->epoch % interval == 0;
}

static ls_status end_epoch(run *r) {
    ls_trainer *t = r->trainer;
    ls_score validation, tested;
    ls_test_row test;
    bool testing = test_due(t) && !finished(t); /* that at the end comes from test() */
    ls_epoch_row row = {.epoch = (uint64_t)t->epoch,
                        .train_loss = ls_mean(t->epoch_score.loss, t->epoch_score.count),
                        .train_accuracy = ls_mean(t->epoch_score.correct, t->epoch_score.count),
                        .learning_rate = t->batch_rate};
    ls_progress_trained(&r->progress);
    LS_TRY(ls_collect_statistics(t));
    LS_TRY(ls_evaluate(t, &t->data.train, t->data.split + t->data.training, t->data.validation, &validation));
    row.validation_loss = ls_mean(validation.loss, validation.count);
    row.validation_accuracy = ls_mean(validation.correct, validation.count);
    if (testing) {
        LS_TRY(ls_evaluate_test(t, &tested));
        test = test_row(t, &tested);
        RECORD(r, ls_recorder_test(&r->recorder, &test));
    }
    ls_progress_epoch(&r->progress, t, &row, testing ? &test : NULL);
    ls_recorder_note_best(&r->recorder, row.validation_loss);
    t->comm->phase = "writing metrics";
    RECORD(r, ls_recorder_epoch(&r->recorder, &row));
    return ls_comm_agree(t->comm, t->trouble);
}

/* A checkpoint of a state that all ranks hold. */
static ls_status save(run *r, bool last) {
    ls_trainer *t = r->trainer;
    LS_TRY(ls_trainer_check_replicas(t));
    t->comm->phase = "writing a checkpoint";
    RECORD(r, ls_recorder_save(&r->recorder, last));
    return LS_OK;
}

/* All ranks stop after the same batch. The checkpoint makes it as if nothing had happened: an evaluation that
 * was given up has left nothing behind, and is begun anew. */
static ls_status stop(run *r) {
    ls_trainer *t = r->trainer;
    t->comm->agreed = false; /* what fails from here on is another failure */
    RECORD(r, ls_metrics_write(r->recorder.metrics, 1));
    LS_TRY(save(r, false));
    LS_TRY(ls_comm_agree(t->comm, t->trouble));
    return ls_comm_everywhere(t->comm, ls_fail(LS_STOPPED,
                                               "stopped on request after step %lld, checkpoint written; "
                                               "resume=auto goes on",
                                               (long long)t->step));
}

/* A timeline of the first steps goes into a file as soon as they are done. */
static ls_status trace_step(run *r) {
    if (!r->timeline || (++r->traced < TRACED_STEPS && !finished(r->trainer))) return LS_OK;
    ls_status status = ls_timeline_write(r->timeline, r->trace);
    ls_timeline_destroy(&r->timeline);
    return status;
}

/* What follows a step: at the end of an epoch its evaluation, and a checkpoint every so often. */
static ls_status end_step(run *r) {
    const ls_trainer *t = r->trainer;
    if (t->batch_in_epoch == 0) LS_TRY(end_epoch(r));
    if (ls_recorder_due(&r->recorder) && !finished(t)) LS_TRY(save(r, false)); /* at the end finish() does */
    return LS_OK;
}

static ls_status train_loop(run *r) {
    ls_trainer *t = r->trainer;
    bool within_epoch = t->batch_in_epoch > 0 || r->evaluation_due;
    if (r->trace) LS_TRY(ls_comm_agree(t->comm, ls_timeline_create(t, &r->timeline)));
    ls_progress_begin(&r->progress, t, within_epoch ? t->epoch_score.count : 0);
    if (r->evaluation_due) LS_TRY(end_step(r));
    t->ahead = true;
    while (!finished(t)) {
        LS_TRY(ls_train_step(t));
        LS_TRY(trace_step(r));
        RECORD(r, ls_recorder_step(&r->recorder));
        ls_progress_step(&r->progress, t);
        if (t->stop_agreed) return LS_STOPPED;
        LS_TRY(end_step(r));
    }
    return ls_comm_agree(t->comm, t->trouble);
}

/* The test at the end. */
static ls_status test(run *r) {
    ls_trainer *t = r->trainer;
    ls_score score;
    LS_TRY(ls_evaluate_test(t, &score));
    ls_test_row row = test_row(t, &score);
    if (test_due(t)) RECORD(r, ls_recorder_test(&r->recorder, &row));
    if (!is_root(r)) return LS_OK;
    ls_metrics_set_test(r->recorder.metrics, row.loss, row.accuracy);
    if (t->options.progress != LS_PROGRESS_NONE) printf("test loss %.4f acc %.4f\n", row.loss, row.accuracy);
    return LS_OK;
}

static ls_status finish(run *r) {
    ls_trainer *t = r->trainer;
    /* the metrics first: a run that is marked as finished is never written to again */
    RECORD(r, ls_metrics_write(r->recorder.metrics, 1));
    LS_TRY(save(r, true));
    return ls_comm_agree(t->comm, t->trouble);
}

/* LS_STOPPED: on the way a signal came to some rank, and all know. */
static ls_status train_and_test(run *r) {
    LS_TRY(train_loop(r));
    LS_TRY(ls_collect_statistics(r->trainer));
    LS_TRY(test(r));
    return finish(r);
}

static void conclude(run *r) {
    if (!is_root(r)) return;
    printf("run %s\nfingerprint %016llx\n", r->recorder.folder,
           (unsigned long long)ls_trainer_fingerprint(r->trainer));
    if (fflush(stdout) != 0) ls_log(LS_LOG_WARNING, "standard output cannot be written");
}

static void introduce(const run *r, const ls_resumed *resumed) {
    const ls_trainer *t = r->trainer;
    if (!is_root(r) || t->options.progress == LS_PROGRESS_NONE) return;
    printf("lockstep: %s on %s (%s): %lld training, %lld validation, %lld test samples\n", r->config_path,
           t->data.name, t->data.folder, (long long)t->data.training, (long long)t->data.validation,
           (long long)t->data.test.count);
    printf("%lld parameters, batch %lld in %lld shards on %d rank%s of %lld thread%s\n",
           (long long)t->network->parameters.elements, (long long)t->options.batch,
           (long long)t->options.shards, t->comm->size, t->comm->size == 1 ? "" : "s",
           (long long)t->options.threads, t->options.threads == 1 ? "" : "s");
    if (*t->why_device) printf("device %s\n", t->why_device);
    if (t->step > 0)
        printf("going on after step %lld%s\n", (long long)t->step,
               resumed->mark.finished ? ", where the run had ended" : "");
    fflush(stdout);
}

/* Rank 0 opens the folder and, to resume, a checkpoint; all ranks take over what it holds. */
static ls_status open_run(run *r, ls_resumed *resumed) {
    ls_trainer *t = r->trainer;
    bool from_checkpoint = false;
    ls_status status = *t->options.output ? ls_strdup(&r->recorder.folder, t->options.output)
                                          : ls_run_folder_default(r->config_path, &r->recorder.folder);
    t->comm->phase = "opening the run folder";
    if (status == LS_OK) status = ls_config_resolve_result(t->config, &r->recorder.config_yaml);
    if (status == LS_OK && is_root(r))
        status = ls_recorder_open(&r->recorder, r->config_path, resumed, &from_checkpoint);
    LS_TRY(ls_comm_agree(t->comm, status));
    LS_TRY(ls_comm_broadcast(t->comm, &from_checkpoint, sizeof from_checkpoint, 0));
    LS_TRY(ls_comm_broadcast(t->comm, resumed, sizeof *resumed, 0));
    r->recorder.best = resumed->best;
    r->evaluation_due = resumed->evaluation_due;
    if (!from_checkpoint) return LS_OK;
    LS_TRY(ls_trainer_resume(t, &resumed->mark, &resumed->epoch_score));
    ls_trainer_order_epoch(t);
    return LS_OK;
}

/* A signal has come while rank 0 waits for others: whoever it waits for may never come, and what sent the
 * signal will not wait for long. What was measured is written at once. */
static void keep_on_signal(void *self) {
    run *r = self;
    if (ls_signals_stop_wanted() && ls_metrics_unwritten(r->recorder.metrics))
        RECORD(r, ls_metrics_write(r->recorder.metrics, 1));
}

/* Whatever ended the run, what was measured until then is kept, and the failure stays the one that is told.
 */
static ls_status keep(run *r, ls_status status) {
    char why[2048];
    if (status == LS_OK || !is_root(r) || !ls_metrics_unwritten(r->recorder.metrics)) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    /* where output cannot be written, one message says so */
    if (ls_metrics_write(r->recorder.metrics, 1) != LS_OK && status != LS_OUTPUT)
        ls_log(LS_LOG_WARNING, "%s", ls_error_message());
    return ls_fail(status, "%s", why);
}

static ls_status record_training(run *r) {
    ls_comm *comm = r->trainer->comm;
    if (is_root(r)) {
        comm->on_wait_self = r;
        comm->on_wait = keep_on_signal;
    }
    ls_status status = train_and_test(r);
    if (status == LS_STOPPED) status = stop(r);
    comm->on_wait = NULL;
    return keep(r, status);
}

static ls_status run_all(run *r) {
    ls_trainer *t = r->trainer;
    ls_resumed resumed = {0};
    LS_TRY(open_run(r, &resumed));
    introduce(r, &resumed);
    if (!finished(t) || !resumed.mark.finished) {
        LS_TRY(ls_comm_agree(t->comm, is_root(r) ? ls_recorder_begin(&r->recorder) : LS_OK));
        LS_TRY(record_training(r));
    }
    conclude(r);
    return LS_OK;
}

ls_status ls_train(ls_comm *comm, ls_config *config, const char *config_path, const char *trace) {
    run r = {.config_path = config_path, .recorder = {.lock = -1}, .trace = trace};
    LS_TRY(ls_comm_agree(comm, ls_signals_install())); /* first: reading the data may take a while */
    LS_TRY(ls_trainer_create(comm, config, &r.trainer));
    r.recorder.trainer = r.trainer;
    ls_status status = run_all(&r);
    ls_recorder_close(&r.recorder);
    ls_timeline_destroy(&r.timeline);
    ls_trainer_destroy(&r.trainer);
    return status;
}
