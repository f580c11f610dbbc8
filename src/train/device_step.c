#include "train/device_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/program.h"
#include "train/signals.h"
#include "train/step_cuda.h"

enum { AHEAD = LS_DEVICE_MARKS, SIZES = 2 };

/* What the steps of one size of batch begin. */
typedef struct recording {
    int64_t batch; /* 0: none yet */
    ls_replay *replay;
} recording;

struct ls_device_step {
    ls_trainer *trainer;
    const ls_backend *backend;
    ls_now *now;           /* in its memory, with the samples of the batch behind it, */
    ls_cuda_range *ranges; /* and where the parameters lie */
    char *inputs;          /* page-locked: [AHEAD] ls_now_inputs with samples behind them */
    ls_now_left *left;     /* page-locked: [AHEAD] */
    size_t input_bytes;
    int64_t launched, taken; /* steps so far */
    uint64_t kernels;        /* that a step launches */
    recording recordings[SIZES];
};

static size_t sample_bytes(int64_t samples) {
    return (size_t)samples * sizeof(uint32_t);
}

/* --- creation --------------------------------------------------------------------------------------------- */

static ls_status place_ranges(ls_device_step *d) {
    const ls_parameters *p = &d->trainer->network->parameters;
    const size_t size = (size_t)p->count * sizeof(ls_cuda_range);
    ls_cuda_range *ranges;
    LS_TRY(d->backend->allocate(d->backend, &d->ranges, size, "the places of parameters"));
    LS_TRY(ls_calloc(&ranges, (size_t)p->count, sizeof *ranges, "the places of parameters"));
    for (int i = 0; i < p->count; i++)
        ranges[i] = (ls_cuda_range){p->list[i].offset, p->list[i].offset + p->list[i].count};
    const ls_status status = d->backend->upload(d->backend, d->ranges, ranges, size);
    free(ranges);
    return status;
}

static ls_status allocate(ls_device_step *d) {
    const ls_backend *b = d->backend;
    const size_t samples = sample_bytes(d->trainer->options.batch);
    const size_t line = 64; /* of each step its own */
    d->input_bytes = (sizeof(ls_now_inputs) + samples + line - 1) / line * line;
    LS_TRY(b->allocate(b, &d->now, sizeof *d->now + samples, "what a step is told"));
    LS_TRY(b->allocate_host(b, &d->inputs, AHEAD * d->input_bytes, "what a step is told"));
    LS_TRY(b->allocate_host(b, &d->left, AHEAD * sizeof *d->left, "what a step leaves"));
    return place_ranges(d);
}

static void say(ls_trainer *t, const char *what) {
    const size_t at = strlen(t->why_device);
    snprintf(t->why_device + at, sizeof t->why_device - at, "; %s", what);
}

ls_status ls_device_step_create(ls_trainer *t, ls_device_step **out) {
    ls_device_step *d;
    *out = NULL;
    if (!t->gpu) return LS_OK;
    if (t->comm->size > 1) {
        say(t, "steps are not recorded, since several ranks add their sums on the host");
        return LS_OK;
    }
    say(t, t->options.record == LS_RECORD_AUTO ? "steps are recorded" : "record=off: steps are not recorded");
    LS_TRY(ls_calloc(&d, 1, sizeof *d, "the step"));
    *d = (ls_device_step){.trainer = t, .backend = t->gpu};
    *out = d;
    return allocate(d);
}

void ls_device_step_destroy(ls_device_step **out) {
    ls_device_step *d = *out;
    if (!d) return;
    const ls_backend *b = d->backend;
    (void)b->finish(b); /* what was begun reads and writes what follows; a failure has been told */
    for (int i = 0; i < SIZES; i++) ls_device_forget(b->device, &d->recordings[i].replay);
    b->release(b, d->now);
    b->release(b, d->ranges);
    b->release_host(b, d->inputs);
    b->release_host(b, d->left);
    free(d);
    *out = NULL;
}

ls_status ls_device_step_begin(ls_device_step *d) {
    ls_now now = {.state = {.lowest = INT32_MAX}};
    now.state.guarded = ls_updater_guard(d->trainer->updater, &now.state.guard);
    return d->backend->upload(d->backend, d->now, &now, sizeof now);
}

/* --- what a step begins ----------------------------------------------------------------------------------- */

static ls_status begin_step(void *argument) {
    const ls_device_step *d = argument;
    ls_trainer *t = d->trainer;
    ls_parameters *p = &t->network->parameters;
    const ls_run run = {.shards = &t->training.shards,
                        .all = &t->training.all,
                        .data = &t->train,
                        .sample = (const uint32_t *)(d->now + 1),
                        .seed = (uint64_t)t->options.seed,
                        .now = d->now};
    const ls_cuda_judgement judgement = {.count = p->total,
                                         .gradient = p->reduced,
                                         .losses = t->training.loss->nodes,
                                         .parameters = p->count,
                                         .ranges = d->ranges,
                                         .now = d->now};
    LS_TRY(ls_plan_run(t->training.plan, &run, t->team));
    ls_judge_cuda(d->backend->device, &judgement);
    ls_optimizer_apply_now(&t->optimizer, p, d->now);
    return LS_OK;
}

ls_status ls_device_step_record(ls_device_step *d, int64_t batch, ls_replay **replay) {
    ls_program_resize(&d->trainer->training, batch);
    return ls_device_record(d->backend->device, begin_step, d, replay);
}

/* The first batch of a size is not recorded: kernels are brought to the device by it. Whoever watches is told
 * of every piece. */
static ls_status run_step(ls_device_step *d, int64_t batch) {
    const ls_trainer *t = d->trainer;
    recording *r = d->recordings;
    while (r->batch != batch && r->batch != 0 && r + 1 < d->recordings + SIZES) r++;
    if (r->batch != batch) ls_device_forget(d->backend->device, &r->replay);
    const bool again = r->batch == batch, records = t->options.record == LS_RECORD_AUTO && !t->observer;
    r->batch = batch;
    if (again && records && !r->replay) LS_TRY(ls_device_step_record(d, batch, &r->replay));
    if (again && records) return ls_device_replay(d->backend->device, r->replay);
    ls_program_resize(&d->trainer->training, batch);
    const uint64_t before = ls_device_launches(d->backend->device);
    const ls_status status = begin_step(d);
    d->kernels = ls_device_launches(d->backend->device) - before;
    return status;
}

uint64_t ls_device_step_launches(const ls_device_step *d) {
    return d->kernels;
}

/* --- ahead of what is taken ------------------------------------------------------------------------------- */

static bool due(int64_t step, int64_t interval) {
    return interval > 0 && step % interval == 0;
}

bool ls_device_step_may_launch(const ls_device_step *d) {
    const ls_trainer *t = d->trainer;
    const ls_options *o = &t->options;
    const int64_t ahead = d->launched - d->taken, step = t->step + ahead;
    if (ahead == 0) return true;
    if (ahead == AHEAD || !t->ahead || t->observer || ls_signals_stop_wanted()) return false;
    if (t->batch_in_epoch + ahead == ls_trainer_batches_per_epoch(t) || (o->steps > 0 && step >= o->steps))
        return false;
    return !due(step, o->check_interval) && !due(step, o->checkpoint_interval) &&
           !due(step, o->trail_interval);
}

/* What the step is told: a slot that the device has read long ago. */
static const void *fill_in(ls_device_step *d, int64_t step, int64_t begin, int64_t count) {
    ls_trainer *t = d->trainer;
    char *slot = d->inputs + (size_t)(d->launched % AHEAD) * d->input_bytes;
    const ls_update update = ls_optimizer_step(&t->optimizer, ls_schedule_rate(&t->schedule, step, t->epoch),
                                               (uint64_t)step + 1, t->network->parameters.elements);
    ls_now_inputs in = {.step = (uint32_t)step, .epoch = (uint32_t)t->epoch};
    ls_update_inputs(&update, &in);
    memcpy(slot, &in, sizeof in);
    memcpy(slot + sizeof in, t->order + begin, sample_bytes(count));
    return slot;
}

ls_status ls_device_step_launch(ls_device_step *d) {
    ls_trainer *t = d->trainer;
    struct ls_device *device = d->backend->device;
    const int64_t ahead = d->launched - d->taken, step = t->step + ahead, number = t->batch_in_epoch + ahead;
    const int64_t count = ls_trainer_batch_samples(t, number);
    const int slot = (int)(d->launched % AHEAD);
    if (number == 0) ls_trainer_begin_epoch(t);
    t->comm->step = (uint64_t)step + 1;
    t->comm->phase = "forward, backward and update";
    const void *in = fill_in(d, step, number * t->options.batch, count);
    LS_TRY(ls_device_send(device, &d->now->in, in, sizeof d->now->in + sample_bytes(count)));
    LS_TRY(run_step(d, count));
    LS_TRY(ls_device_fetch(device, &d->left[slot], &d->now->left, sizeof *d->left));
    LS_TRY(ls_device_mark(device, slot));
    d->launched++;
    return LS_OK;
}

ls_status ls_device_step_take(ls_device_step *d, ls_step_record *record) {
    ls_trainer *t = d->trainer;
    const int slot = (int)(d->taken % AHEAD);
    LS_TRY(ls_device_wait(d->backend->device, slot));
    const ls_now_left *left = &d->left[slot];
    d->taken++;
    if (left->step != (uint32_t)t->step)
        return ls_fail(LS_INTERNAL, "step %lld: the device has left the record of step %lld",
                       (long long)t->step + 1, (long long)left->step + 1);
    *record = (ls_step_record){.rate = ls_schedule_rate(&t->schedule, t->step, t->epoch),
                               .verdict = (ls_verdict)left->verdict,
                               .parameter = left->parameter};
    record->sums[LS_TOTAL_LOSS] = left->loss;
    record->sums[LS_TOTAL_CORRECT] = left->correct;
    /* what was begun before the signal is taken first: the device has done it */
    record->sums[LS_TOTAL_STOP] = d->launched == d->taken && ls_signals_stop_wanted();
    if (record->verdict == LS_VERDICT_TAKEN) ls_updater_left(t->updater, left->after, left->flipped != 0);
    return LS_OK;
}
