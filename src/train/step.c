/* One step, from top to bottom: ls_train_launch() begins it, ls_train_take() ends it. A launch runs the whole
 * step, but where one rank trains alone on a GPU it only queues the step there (train/device_step.h). */
#include "dist/replica.h"
#include "train/device_step.h"
#include "train/program.h"

/* The next batch of all ranks, of which this one selects the samples in its shards: their numbers, the plan
 * reads the pixels. The last batch of an epoch may be smaller. */
static ls_status select_batch(ls_trainer *t, ls_run *run) {
    ls_program *p = &t->training;
    const int64_t number = t->batch_in_epoch, begin = number * t->options.batch;
    LS_TRY(ls_program_select(t, p, t->order + begin, ls_trainer_batch_samples(t, number)));
    *run = (ls_run){.shards = &p->shards,
                    .all = &p->all,
                    .data = &t->train,
                    .sample = p->sample,
                    .seed = (uint64_t)t->options.seed,
                    .epoch = (uint32_t)t->epoch,
                    .step = (uint32_t)t->step};
    return LS_OK;
}

/* Adds loss, correct answers and flags (a stop, a trouble of one rank) over all ranks. */
static ls_status sum_totals(ls_trainer *t, double *sums) {
    ls_partial totals[2];
    t->comm->phase = "adding the loss";
    LS_TRY(ls_trainer_totals(t, &t->training, sums, totals));
    return ls_gradient_add_totals(t->gradient, totals, 2, &(ls_lane){0});
}

/* The verdict of a step. parameter: the first whose gradient is not finite, or -1. */
static ls_verdict judge(const ls_step_record *record, int parameter) {
    if (record->sums[LS_TOTAL_TROUBLE] > 0) return LS_VERDICT_TROUBLE;
    if (!isfinite(record->sums[LS_TOTAL_LOSS])) return LS_VERDICT_LOSS;
    return parameter >= 0 ? LS_VERDICT_GRADIENT : LS_VERDICT_TAKEN;
}

/* Adds the gradient over all shards. If it is finite, each rank updates its slice of the parameters (without a
 * window all of them). */
static ls_status sum_and_update(ls_trainer *t, const ls_run *run, ls_step_record *record) {
    bool finite;
    t->comm->phase = "adding gradients";
    LS_TRY(ls_gradient_add(t->gradient, run, t->observer, &finite));
    LS_TRY(ls_updater_check(t->updater, finite, t->observer, &record->parameter));
    record->verdict = judge(record, record->parameter);
    if (record->verdict != LS_VERDICT_TAKEN) return LS_OK;
    const ls_update update = ls_optimizer_step(&t->optimizer, record->rate, (uint64_t)t->step + 1,
                                               t->network->parameters.elements);
    t->comm->phase = "updating parameters";
    return ls_updater_run(t->updater, &update, t->observer);
}

ls_status ls_train_launch(ls_trainer *t) {
    ls_step_record *record = &t->record;
    ls_run run;
    if (t->device_step) return ls_device_step_launch(t->device_step);
    ls_observe(t->observer, 0, LS_WORK_SELECT, NULL, true);
    if (t->batch_in_epoch == 0) ls_trainer_begin_epoch(t);
    t->comm->step = (uint64_t)t->step + 1;
    t->comm->phase = "forward and backward";
    *record = (ls_step_record){.rate = ls_schedule_rate(&t->schedule, t->step, t->epoch), .parameter = -1};
    LS_TRY(select_batch(t, &run));
    ls_observe(t->observer, 0, LS_WORK_SELECT, NULL, false);
    /* Forward and backward of our shards. At the cuts all ranks add their BatchNorm sums. In a window the
     * weight gradients of dense layers are not made here but in ls_gradient_add(). */
    LS_TRY(ls_plan_run(t->training.plan, &run, t->team));
    ls_observe(t->observer, 0, LS_WORK_GRADIENT_SUM, NULL, true);
    LS_TRY(sum_totals(t, record->sums));
    ls_observe(t->observer, 0, LS_WORK_GRADIENT_SUM, NULL, false);
    record->verdict = judge(record, -1);
    return record->verdict == LS_VERDICT_TAKEN ? sum_and_update(t, &run, record)
                                               : ls_gradient_drop(t->gradient);
}

/* Returns what kept the step from being taken, the same on every rank. */
static ls_status refuse(ls_trainer *t, const ls_step_record *record) {
    const long long step = (long long)t->step + 1;
    switch (record->verdict) {
    case LS_VERDICT_TAKEN: return LS_OK;
    case LS_VERDICT_TROUBLE: return ls_comm_agree(t->comm, t->trouble);
    case LS_VERDICT_LOSS:
        return ls_comm_everywhere(
            t->comm, ls_fail(LS_NOT_FINITE, "step %lld: the loss is not finite (lr=%g)", step, record->rate));
    case LS_VERDICT_GRADIENT: break;
    }
    return ls_comm_everywhere(
        t->comm, ls_fail(LS_NOT_FINITE, "step %lld: the gradient of %s is not finite (lr=%g)", step,
                         t->network->parameters.list[record->parameter].name, record->rate));
}

ls_status ls_train_take(ls_trainer *t) {
    const ls_step_record *record = &t->record;
    if (t->device_step)
        LS_TRY(ls_device_step_take(t->device_step, &t->record));
    else
        LS_TRY(t->backend->finish(t->backend));
    ls_trainer_score(t, ls_trainer_batch_samples(t, t->batch_in_epoch), record->sums, &t->batch_score);
    t->batch_rate = record->rate;
    LS_TRY(refuse(t, record));
    if (t->trouble == LS_OK) /* the other ranks see it in the next step, or before anything is saved */
        t->trouble = ls_updater_unchanged(t->updater, t->step);
    t->epoch_score.loss += t->batch_score.loss;
    t->epoch_score.correct += t->batch_score.correct;
    t->epoch_score.count += t->batch_score.count;
    t->step++;
    if (++t->batch_in_epoch == ls_trainer_batches_per_epoch(t)) {
        t->batch_in_epoch = 0;
        t->epoch++;
    }
    const int64_t interval = t->options.check_interval;
    return interval > 0 && t->step % interval == 0 ? ls_trainer_check_replicas(t) : LS_OK;
}

ls_status ls_train_step(ls_trainer *t) {
    if (!t->device_step) {
        LS_TRY(ls_train_launch(t));
        return ls_train_take(t);
    }
    /* a rank that trains alone needs no totals to hear of its own trouble */
    if (t->trouble != LS_OK) return ls_comm_agree(t->comm, t->trouble);
    while (ls_device_step_may_launch(t->device_step)) LS_TRY(ls_train_launch(t));
    return ls_train_take(t);
}

/* --- what is seen between steps --------------------------------------------------------------------------- */

ls_status ls_trainer_check_replicas(ls_trainer *t) {
    if (t->options.check_interval == 0) return LS_OK;
    uint64_t hash = ls_replica_hash(&t->network->parameters, (uint64_t)t->step);
    ls_updater_look(t->updater);
    LS_TRY(ls_comm_agree(t->comm, ls_updater_unchanged(t->updater, t->step)));
    LS_TRY(ls_replica_check(t->comm, hash));
    if (t->comm->hosts == 1) return LS_OK; /* whose ranks see what they share; the updater watches it */
    const ls_slice own = ls_gradient_slice(t->gradient);
    return ls_replica_check_hosts(t->comm,
                                  ls_replica_hash_shared(&t->network->parameters, own.first, own.last));
}

void ls_trainer_observe(ls_trainer *t, const ls_observer *observer) {
    t->observer = observer;
    ls_plan_observe(t->training.plan, observer);
}

uint64_t ls_trainer_fingerprint(ls_trainer *t) {
    const ls_status status = ls_state_export(&t->network->parameters, &t->state);
    if (t->trouble == LS_OK) t->trouble = status;
    return ls_state_fingerprint(&t->state, (uint64_t)t->step);
}
