/* Measuring a model on samples, each counted once, on all ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/batchnorm/statistics.h"
#include "train/outcomes.h"
#include "train/program.h"

/* All ranks have the same sum, and find the same of the model. */
static ls_status not_finite(ls_trainer *t) {
    LS_TRY(ls_state_export(&t->network->parameters, &t->state));
    const char *bad = ls_state_not_finite(&t->state);
    return ls_comm_everywhere(t->comm,
                              ls_fail(LS_NOT_FINITE, "after step %lld, %s: the loss is not a number: %s%s",
                                      (long long)t->step, t->comm->phase, bad ? bad : "activations overflow",
                                      bad ? " is not finite" : ""));
}

ls_status ls_run_batch(ls_trainer *t, ls_program *p, const ls_dataset *set, const uint32_t *samples,
                       int64_t begin, int64_t count, ls_score *score) {
    double sums[LS_STEP_TOTALS];
    ls_score own;
    LS_TRY(ls_program_select(t, p, samples + begin, count));
    const ls_run run = {.shards = &p->shards,
                        .data = ls_trainer_placed(t, set),
                        .sample = p->sample,
                        .seed = (uint64_t)t->options.seed};
    LS_TRY(ls_plan_run(p->plan, &run, t->team));
    ls_partial totals[2];
    LS_TRY(ls_trainer_totals(t, p, sums, totals));
    LS_TRY(ls_gradient_add_totals(t->gradient, totals, 2, &(ls_lane){0}));
    LS_TRY(ls_trainer_take_totals(t, p, sums, &own));
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

ls_status ls_evaluate_test(ls_trainer *t, ls_score *score) {
    uint32_t *all;
    int64_t count = t->data.test.count;
    LS_TRY(ls_comm_agree(t->comm, ls_calloc(&all, (size_t)count, sizeof *all, "the test samples")));
    for (int64_t i = 0; i < count; i++) all[i] = (uint32_t)i;
    ls_status status = ls_evaluate(t, &t->data.test, all, count, score);
    free(all);
    return status;
}

/* Keeps all statistics in `former`, and begins those of the whole set anew. */
static ls_status begin_statistics(const ls_parameters *p, const ls_arenas *host, void *former) {
    memcpy(former, host->statistics, ls_parameters_statistics(p) * sizeof(double));
    for (int i = 0; i < p->statistics_count; i++) {
        const ls_statistics s = ls_arenas_statistics(p, host, i);
        if (s.kind == LS_STATISTICS_DATASET) ls_statistics_reset(&s);
    }
    return LS_OK;
}

static ls_status restore_statistics(const ls_parameters *p, const ls_arenas *host, void *former) {
    memcpy(host->statistics, former, ls_parameters_statistics(p) * sizeof(double));
    return LS_OK;
}

ls_status ls_collect_statistics(ls_trainer *t) {
    const ls_parameters *p = &t->network->parameters;
    ls_score unused;
    double *former;
    if (!t->collecting.plan) return LS_OK;
    LS_TRY(ls_comm_agree(
        t->comm, ls_calloc(&former, ls_parameters_statistics(p), sizeof *former, "the former statistics")));
    t->comm->phase = "collecting statistics";
    ls_status status = ls_comm_agree(t->comm, ls_parameters_use(p, true, begin_statistics, former));
    if (status == LS_OK)
        status = pass(t, &t->collecting, t->options.batch, &t->data.train, t->data.split, t->data.training,
                      &unused, NULL);
    if (status == LS_STOPPED) {
        ls_status restored = ls_parameters_use(p, true, restore_statistics, former);
        if (restored != LS_OK) status = restored;
    }
    free(former);
    return status;
}
