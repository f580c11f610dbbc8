/* One step, from top to bottom. */
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "dist/replica.h"
#include "train/trainer.h"

static void observe(const ls_trainer *t, ls_work work, bool begin) {
    ls_observe(t->observer, 0, work, NULL, begin);
}

int64_t ls_trainer_epoch_samples(const ls_trainer *t) {
    return t->options.samples_per_epoch > 0 ? t->options.samples_per_epoch : t->data.training;
}

int64_t ls_trainer_batches_per_epoch(const ls_trainer *t) {
    return (ls_trainer_epoch_samples(t) + t->options.batch - 1) / t->options.batch;
}

static void permute(ls_trainer *t, int64_t index) {
    memcpy(t->permutation, t->data.split, (size_t)t->data.training * sizeof *t->permutation);
    ls_shuffle((uint64_t)t->options.seed, LS_RNG_ORDER, (uint32_t)index, t->permutation, t->data.training);
    t->permutation_index = index;
}

/* Permutations of the training samples follow one another without end, and an epoch is the next piece of that
 * row: as a rule one of them. It is a function of (seed, epoch): there is nothing to remember and nothing to
 * forget. */
void ls_trainer_order_epoch(ls_trainer *t) {
    int64_t count = ls_trainer_epoch_samples(t), at = t->epoch * count;
    for (int64_t i = 0; i < count; i++, at++) {
        if (at / t->data.training != t->permutation_index) permute(t, at / t->data.training);
        t->order[i] = t->permutation[at % t->data.training];
    }
}

/* The next batch: B global samples, of which this rank sees those of its shards. The last batch of an epoch
 * is smaller. */
static ls_run select_batch(ls_trainer *t) {
    ls_program *p = &t->training;
    int64_t begin = t->batch_in_epoch * t->options.batch;
    int64_t left = ls_trainer_epoch_samples(t) - begin,
            count = left < t->options.batch ? left : t->options.batch;
    ls_shards_set_batch(&p->shards, count);
    ls_shards_set_batch(&p->all, count);
    memcpy(p->sample, t->order + begin + p->shards.offset,
           (size_t)ls_shards_rows(&p->shards) * sizeof *p->sample);
    return (ls_run){.shards = &p->shards,
                    .all = &p->all,
                    .data = &t->data.train,
                    .sample = p->sample,
                    .seed = (uint64_t)t->options.seed,
                    .epoch = (uint32_t)t->epoch,
                    .step = (uint32_t)t->step};
}

/* Loss and correct answers of all ranks, and what one rank knows and all must act on. */
static ls_status sum_words(ls_trainer *t) {
    double sums[LS_STEP_WORDS];
    ls_partial words = ls_trainer_words(t, &t->training, sums);
    t->comm->phase = "adding the loss";
    LS_TRY(ls_tree_sum_words(t->sum, &words));
    return ls_trainer_take_words(t, &t->training, sums, &t->batch_score);
}

/* Adds the gradient over all nodes of all ranks, for the slice that this rank is to update. */
static ls_status sum_gradient(ls_trainer *t) {
    const ls_parameters *p = &t->network->parameters;
    t->comm->phase = "adding gradients";
    return ls_tree_sum_gradient(t->sum, p->gradient, p->reduced);
}

typedef struct update_job {
    ls_trainer *trainer;
    ls_update update;
    atomic_bool not_finite;
} update_job;

/* An fp number is not finite when its exponent is all ones; on integers, so that the loop vectorises. */
static bool all_finite(const ls_parameters *p, int64_t first, int64_t last) {
    const char *gradient = p->reduced;
    if (p->backend->dtype == LS_FP64) {
        uint64_t bad = 0;
        for (int64_t i = first; i < last; i++) {
            uint64_t bits;
            memcpy(&bits, gradient + i * (int64_t)sizeof bits, sizeof bits);
            bad |= (bits & UINT64_C(0x7ff0000000000000)) + UINT64_C(0x0010000000000000);
        }
        return !(bad >> 63);
    }
    uint32_t bad = 0;
    for (int64_t i = first; i < last; i++) {
        uint32_t bits;
        memcpy(&bits, gradient + i * (int64_t)sizeof bits, sizeof bits);
        bad |= (bits & 0x7f800000u) + 0x00800000u;
    }
    return !(bad >> 31);
}

/* One thread's share of the slice. */
static ls_slice share_of(const ls_trainer *t, int member) {
    ls_slice s;
    ls_team_split(t->slice.last - t->slice.first, member, ls_team_size(t->team), &s.first, &s.last);
    return (ls_slice){t->slice.first + s.first, t->slice.first + s.last};
}

/* What has been added over nodes here; the plan has looked at what it computed over all shards. */
static void check_part(void *argument, int member) {
    update_job *job = argument;
    const ls_parameters *p = &job->trainer->network->parameters;
    const ls_slice s = share_of(job->trainer, member);
    for (int i = 0; i < p->count; i++) {
        const int64_t first = p->list[i].offset, last = first + p->list[i].count;
        if (!p->list[i].whole &&
            !all_finite(p, first > s.first ? first : s.first, last < s.last ? last : s.last))
            atomic_store(&job->not_finite, true);
    }
}

static void update_part(void *argument, int member) {
    update_job *job = argument;
    ls_trainer *t = job->trainer;
    ls_guard_update(&t->guard, member, &job->update, &t->network->parameters, share_of(t, member));
}

static void remember_part(void *argument, int member) {
    ls_trainer *t = argument;
    ls_guard_remember(&t->guard, member, &t->network->parameters, share_of(t, member));
}

void ls_trainer_watch(ls_trainer *t) {
    ls_team_run(t->team, remember_part, t);
}

static void look_part(void *argument, int member) {
    ls_trainer *t = argument;
    ls_guard_look(&t->guard, member, &t->network->parameters, share_of(t, member));
}

/* LS_REPLICAS_DIFFER where the guard has noticed something. */
static ls_status unchanged(ls_trainer *t) {
    if (!atomic_load(&t->guard.broken)) return LS_OK;
    return ls_fail(LS_REPLICAS_DIFFER,
                   "step %lld: the parameters or moments that rank %d updates have changed since it did so: "
                   "a bit of its memory has flipped",
                   (long long)t->step, t->comm->rank);
}

static const char *first_not_finite(const ls_parameters *p) {
    int i = 0;
    while (i + 1 < p->count && all_finite(p, p->list[i].offset, p->list[i].offset + p->list[i].count)) i++;
    return p->list[i].name;
}

/* Nobody touches a parameter before everybody has found the gradient finite. Collective. */
static ls_status check_gradient(ls_trainer *t, update_job *job) {
    int64_t finite;
    observe(t, LS_WORK_UPDATE, true);
    ls_team_run(t->team, check_part, job);
    observe(t, LS_WORK_UPDATE, false);
    observe(t, LS_WORK_UPDATE_EXCHANGE, true);
    LS_TRY(ls_tree_sum_lowest(t->sum, !atomic_load(&job->not_finite), &finite));
    observe(t, LS_WORK_UPDATE_EXCHANGE, false);
    if (finite) return LS_OK;
    return ls_comm_everywhere(
        t->comm, ls_fail(LS_NOT_FINITE, "step %lld: the gradient of %s is not finite (lr=%g)",
                         (long long)t->step + 1, first_not_finite(&t->network->parameters), t->batch_rate));
}

/* Each rank updates its slice of the parameters, which is all of them where ranks share no memory. */
static ls_status update(ls_trainer *t, bool finite) {
    update_job job = {.trainer = t, .not_finite = !finite};
    t->batch_rate = ls_schedule_rate(&t->schedule, t->step, t->epoch);
    if (!isfinite(t->batch_score.loss))
        return ls_comm_everywhere(t->comm, ls_fail(LS_NOT_FINITE, "step %lld: the loss is not finite (lr=%g)",
                                                   (long long)t->step + 1, t->batch_rate));
    LS_TRY(check_gradient(t, &job));
    job.update = ls_optimizer_step(&t->optimizer, t->batch_rate, (uint64_t)t->step + 1,
                                   t->network->parameters.elements);
    t->comm->phase = "updating parameters";
    observe(t, LS_WORK_UPDATE, true);
    ls_team_run(t->team, update_part, &job);
    if (t->trouble == LS_OK)
        t->trouble = unchanged(t); /* all are told in the next step, or before anything is saved */
    observe(t, LS_WORK_UPDATE, false);
    observe(t, LS_WORK_UPDATE_EXCHANGE, true);
    LS_TRY(ls_tree_sum_updated(t->sum));
    observe(t, LS_WORK_UPDATE_EXCHANGE, false);
    return LS_OK;
}

ls_status ls_trainer_check_replicas(ls_trainer *t) {
    if (t->options.check_interval == 0) return LS_OK;
    uint64_t hash = ls_replica_hash(&t->network->parameters, (uint64_t)t->step);
    ls_team_run(t->team, look_part, t);
    LS_TRY(ls_comm_agree(t->comm, unchanged(t)));
    return ls_replica_check(t->comm, hash);
}

void ls_trainer_observe(ls_trainer *t, const ls_observer *observer) {
    t->observer = observer;
    ls_plan_observe(t->training.plan, observer);
}

ls_status ls_train_step(ls_trainer *t) {
    observe(t, LS_WORK_SELECT, true);
    if (t->batch_in_epoch == 0) {
        ls_trainer_order_epoch(t);
        t->epoch_score = (ls_score){0};
    }
    t->comm->step = (uint64_t)t->step + 1;
    t->comm->phase = "forward and backward";

    ls_run run = select_batch(t);
    observe(t, LS_WORK_SELECT, false);
    LS_TRY(ls_plan_run(t->training.plan, &run,
                       t->team)); /* gradients of the own shards; BatchNorm over all shards */
    observe(t, LS_WORK_GRADIENT_SUM, true);
    LS_TRY(sum_words(t));
    observe(t, LS_WORK_GRADIENT_SUM, false);
    const bool finite = ls_plan_run_whole(
        t->training.plan, &run, t->team); /* where ranks share memory: parts of gradients, of all shards */
    observe(t, LS_WORK_GRADIENT_SUM, true);
    LS_TRY(sum_gradient(t)); /* over all shards */
    observe(t, LS_WORK_GRADIENT_SUM, false);
    LS_TRY(update(t, finite)); /* the same on every rank */

    t->epoch_score.loss += t->batch_score.loss;
    t->epoch_score.correct += t->batch_score.correct;
    t->epoch_score.count += t->batch_score.count;
    t->step++;
    if (++t->batch_in_epoch == ls_trainer_batches_per_epoch(t)) {
        t->batch_in_epoch = 0;
        t->epoch++;
    }
    int64_t interval = t->options.check_interval;
    return interval > 0 && t->step % interval == 0 ? ls_trainer_check_replicas(t) : LS_OK;
}

uint64_t ls_trainer_fingerprint(ls_trainer *t) {
    ls_state_export(&t->network->parameters, &t->state);
    return ls_state_fingerprint(&t->state, (uint64_t)t->step);
}
