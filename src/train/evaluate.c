/* Measuring a model on samples, each counted once, on all ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/batchnorm/statistics.h"
#include "train/outcomes.h"

/* All ranks have the same sum, and find the same of the model. */
static ls_status not_finite(ls_trainer *t) {
    ls_state_export(&t->network->parameters, &t->state);
    const char *bad = ls_state_not_finite(&t->state);
    return ls_comm_everywhere(t->comm,
                              ls_fail(LS_NOT_FINITE, "after step %lld, %s: the loss is not a number: %s%s",
                                      (long long)t->step, t->comm->phase, bad ? bad : "activations overflow",
                                      bad ? " is not finite" : ""));
}

ls_status ls_run_batch(ls_trainer *t, ls_program *p, const ls_dataset *set, const uint32_t *samples,
                       int64_t begin, int64_t count, ls_score *score) {
    double sums[LS_STEP_WORDS];
    ls_score own;
    ls_shards_set_batch(&p->shards, count);
    memcpy(p->sample, samples + begin + p->shards.offset,
           (size_t)ls_shards_rows(&p->shards) * sizeof *p->sample);
    ls_run run = {.shards = &p->shards, .data = set, .sample = p->sample, .seed = (uint64_t)t->options.seed};
    LS_TRY(ls_plan_run(p->plan, &run, t->team));
    ls_reducer reducer = ls_tree_sum_reducer(t->sum);
    ls_partial words = ls_trainer_words(t, p, sums);
    LS_TRY(reducer.sum(reducer.self, &words, 1));
    LS_TRY(ls_trainer_take_words(t, p, sums, &own));
    if (isnan(own.loss)) return not_finite(t);
    score->loss += own.loss;
    score->correct += own.correct;
    score->count += own.count;
    return t->stop_agreed ? ls_comm_everywhere(t->comm, ls_fail(LS_STOPPED, "stopped on request")) : LS_OK;
}

/* All samples, batch by batch; outcomes may be NULL. */
static ls_status pass(ls_trainer *t, ls_program *p, int64_t batch, const ls_dataset *set,
                      const uint32_t *samples, int64_t count, ls_score *score, ls_outcome *outcomes) {
    *score = (ls_score){0};
    for (int64_t begin = 0; begin < count; begin += batch) {
        LS_TRY(ls_run_batch(t, p, set, samples, begin, count - begin < batch ? count - begin : batch, score));
        if (outcomes) LS_TRY(ls_gather_outcomes(t, p, outcomes + begin));
    }
    return LS_OK;
}

ls_status ls_evaluate_each(ls_trainer *t, const ls_dataset *set, const uint32_t *samples, int64_t count,
                           ls_score *score, ls_outcome *outcomes) {
    t->comm->phase = "evaluation";
    return pass(t, &t->evaluating, t->options.eval_batch, set, samples, count, score, outcomes);
}

ls_status ls_evaluate(ls_trainer *t, const ls_dataset *set, const uint32_t *samples, int64_t count,
                      ls_score *score) {
    return ls_evaluate_each(t, set, samples, count, score, NULL);
}

static size_t doubles_of(const ls_statistics *s) {
    return (size_t)(1 + 3 * s->channels);
}

/* All statistics, one after the other: out of their places, or back. */
static void copy_statistics(ls_parameters *p, double *all, bool back) {
    for (int i = 0; i < p->statistics_count; i++) {
        ls_statistics *s = &p->statistics[i];
        memcpy(back ? s->values : all, back ? all : s->values, doubles_of(s) * sizeof *all);
        all += doubles_of(s);
    }
}

ls_status ls_collect_statistics(ls_trainer *t) {
    ls_parameters *p = &t->network->parameters;
    ls_score unused;
    double *former;
    size_t doubles = 0;
    if (!t->collecting.plan) return LS_OK;
    for (int i = 0; i < p->statistics_count; i++) doubles += doubles_of(&p->statistics[i]);
    LS_TRY(ls_comm_agree(t->comm, ls_calloc(&former, doubles, sizeof *former, "the former statistics")));
    copy_statistics(p, former, false);
    for (int i = 0; i < p->statistics_count; i++)
        if (p->statistics[i].kind == LS_STATISTICS_DATASET) ls_statistics_reset(&p->statistics[i]);
    t->comm->phase = "collecting statistics";
    ls_status status = pass(t, &t->collecting, t->options.batch, &t->data.train, t->data.split,
                            t->data.training, &unused, NULL);
    if (status == LS_STOPPED) copy_statistics(p, former, true);
    free(former);
    return status;
}
