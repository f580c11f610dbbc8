#include "train/replay.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct replay {
    ls_trainer *trainer;
    const ls_metrics_file *recorded; /* NULL: none */
    ls_difference *difference;
} replay;

void ls_differ(ls_difference *difference, const char *format, ...) {
    va_list args;
    if (*difference->text) return;
    va_start(args, format);
    vsnprintf(difference->text, sizeof difference->text, format, args);
    va_end(args);
}

/* --- rows ---------------------------------------------------------------------------------------------- */

/* To the bit; but NaN, which stands for "not measured", is NaN. */
static void compare(const replay *r, const char *what, uint64_t number, const char *name, double recorded,
                    double found) {
    if ((isnan(recorded) && isnan(found)) || memcmp(&recorded, &found, sizeof found) == 0) return;
    ls_differ(r->difference, "%s %" PRIu64 ": %s: recorded %.17g, replayed %.17g", what, number, name,
              recorded, found);
}

static void compare_step(const replay *r) {
    const ls_trainer *t = r->trainer;
    const ls_metrics_file *m = r->recorded;
    const uint64_t step = (uint64_t)t->step;
    if (m->step_count == 0) return; /* whoever has no rows of steps at all says so beforehand */
    if (t->step > m->step_count || m->steps[step - 1].step != step) {
        ls_differ(r->difference, "step %" PRIu64 ": no row is recorded of it", step);
        return;
    }
    const ls_step_row *row = &m->steps[step - 1];
    compare(r, "step", step, "loss", row->loss, ls_mean(t->batch_score.loss, t->batch_score.count));
    compare(r, "step", step, "accuracy", row->accuracy,
            ls_mean(t->batch_score.correct, t->batch_score.count));
    compare(r, "step", step, "learning rate", row->learning_rate, t->batch_rate);
}

static void compare_hashes(const replay *r, int64_t row) {
    const ls_trail *trail = &r->recorded->trail;
    const ls_state *state = &r->trainer->state;
    for (int64_t i = 0; i < trail->tensors && i < state->count; i++)
        if (trail->hash[row * trail->tensors + i] != state->hashes[i])
            ls_differ(r->difference, "step %" PRIu64 ": trail: %s differs", trail->step[row],
                      state->records[i].path);
    ls_differ(r->difference, "step %" PRIu64 ": trail: the fingerprint differs", trail->step[row]);
}

static void compare_trail(const replay *r) {
    const ls_trail *trail = &r->recorded->trail;
    for (int64_t i = 0; i < trail->length; i++) {
        if (trail->step[i] != (uint64_t)r->trainer->step) continue;
        if (ls_trainer_fingerprint(r->trainer) != trail->fingerprint[i]) compare_hashes(r, i);
        return;
    }
}

static void compare_epoch(const replay *r, const ls_score *validation) {
    const ls_trainer *t = r->trainer;
    const uint64_t epoch = (uint64_t)t->epoch;
    if (r->recorded->epoch_count == 0) return;
    if (t->epoch > r->recorded->epoch_count || r->recorded->epochs[epoch - 1].epoch != epoch) {
        ls_differ(r->difference, "epoch %" PRIu64 ": no row is recorded of it", epoch);
        return;
    }
    const ls_epoch_row *row = &r->recorded->epochs[epoch - 1];
    const ls_score *trained = &t->epoch_score;
    compare(r, "epoch", epoch, "training loss", row->train_loss, ls_mean(trained->loss, trained->count));
    compare(r, "epoch", epoch, "training accuracy", row->train_accuracy,
            ls_mean(trained->correct, trained->count));
    compare(r, "epoch", epoch, "validation loss", row->validation_loss,
            ls_mean(validation->loss, validation->count));
    compare(r, "epoch", epoch, "validation accuracy", row->validation_accuracy,
            ls_mean(validation->correct, validation->count));
    compare(r, "epoch", epoch, "learning rate", row->learning_rate, t->batch_rate);
}

/* The row of a test after the epoch at hand; NULL: none is recorded. */
static const ls_test_row *test_row(const replay *r) {
    for (int64_t i = 0; r->recorded && i < r->recorded->test_count; i++)
        if (r->recorded->tests[i].epoch == (uint64_t)r->trainer->epoch) return &r->recorded->tests[i];
    return NULL;
}

/* --- the run ------------------------------------------------------------------------------------------- */

static ls_status replay_test(const replay *r) {
    ls_trainer *t = r->trainer;
    const ls_test_row *row = test_row(r);
    bool tested = row != NULL;
    ls_score score;
    LS_TRY(ls_comm_broadcast(t->comm, &tested, sizeof tested, 0));
    if (!tested) return LS_OK;
    LS_TRY(ls_evaluate_test(t, &score));
    if (!row) return LS_OK;
    compare(r, "test after epoch", row->epoch, "loss", row->loss, ls_mean(score.loss, score.count));
    compare(r, "test after epoch", row->epoch, "accuracy", row->accuracy,
            ls_mean(score.correct, score.count));
    return LS_OK;
}

static ls_status replay_epoch(const replay *r) {
    ls_trainer *t = r->trainer;
    ls_score validation;
    LS_TRY(ls_collect_statistics(t));
    LS_TRY(ls_evaluate(t, &t->data.train, t->data.split + t->data.training, t->data.validation, &validation));
    if (r->recorded) compare_epoch(r, &validation);
    return replay_test(r);
}

static ls_status replay_end(const replay *r) {
    ls_trainer *t = r->trainer;
    ls_score score;
    LS_TRY(ls_collect_statistics(t));
    LS_TRY(ls_evaluate_test(t, &score));
    const ls_metrics_file *m = r->recorded;
    if (!m || m->step_count > t->step) return LS_OK; /* the run went on, and that test is forgotten */
    if (!m->has_test) {
        ls_differ(r->difference, "the test at the end is not recorded");
        return LS_OK;
    }
    compare(r, "the end after step", (uint64_t)t->step, "test loss", m->test_loss,
            ls_mean(score.loss, score.count));
    compare(r, "the end after step", (uint64_t)t->step, "test accuracy", m->test_accuracy,
            ls_mean(score.correct, score.count));
    return LS_OK;
}

static ls_status replay_steps(const replay *r, const ls_stretch *stretch) {
    ls_trainer *t = r->trainer;
    if (stretch->evaluate_first) LS_TRY(replay_epoch(r));
    while ((uint64_t)t->step < stretch->to) {
        LS_TRY(ls_train_step(t));
        if (t->stop_agreed) return ls_comm_everywhere(t->comm, ls_fail(LS_STOPPED, "stopped on request"));
        if (r->recorded) compare_step(r);
        if (r->recorded) compare_trail(r);
        if (t->batch_in_epoch == 0 && ((uint64_t)t->step < stretch->to || stretch->evaluate_last))
            LS_TRY(replay_epoch(r));
    }
    if (stretch->finished) LS_TRY(replay_end(r));
    return ls_comm_agree(t->comm, t->trouble);
}

ls_status ls_replay(ls_trainer *trainer, const ls_stretch *stretch, const ls_metrics_file *recorded,
                    ls_difference *difference) {
    const replay r = {trainer, recorded, difference};
    ls_status status = replay_steps(&r, stretch);
    if (status != LS_NOT_FINITE) return status;
    ls_differ(difference, "%s", ls_error_message());
    trainer->comm->agreed = false; /* it is no failure of ours */
    return LS_OK;
}
