#include "bench/step_times.h"

#include <stdlib.h>

const char *const ls_step_phase_names[LS_STEP_PHASES] = {"data",          "forward", "backward",
                                                         "communication", "update",  "other"};

ls_status ls_step_times_create(int64_t steps, int ops, ls_step_times *t) {
    const size_t n = (size_t)steps;
    *t = (ls_step_times){.steps = steps, .ops = ops};
    LS_TRY(ls_calloc(&t->seconds, n, sizeof *t->seconds, "the times"));
    LS_TRY(ls_calloc(&t->processor, n, sizeof *t->processor, "the times"));
    LS_TRY(ls_calloc(&t->phases, LS_STEP_PHASES * n, sizeof *t->phases, "the times"));
    LS_TRY(ls_calloc(&t->passes, (size_t)ops * LS_PASSES * n, sizeof *t->passes, "the times"));
    return ls_calloc(&t->pass, (size_t)ops * LS_PASSES, sizeof *t->pass, "the times");
}

void ls_step_times_destroy(ls_step_times *t) {
    free(t->seconds);
    free(t->processor);
    free(t->phases);
    free(t->passes);
    free(t->pass);
    *t = (ls_step_times){0};
}

static ls_step_phase phase_of(const ls_span *span, const ls_graph *graph) {
    switch ((ls_work)span->work) {
    case LS_WORK_SUMS:
    case LS_WORK_FORWARD: return ls_graph_op(graph, span->op)->in[0] ? LS_PHASE_FORWARD : LS_PHASE_DATA;
    case LS_WORK_CUT: return LS_PHASE_FORWARD;
    case LS_WORK_GRAD_SUMS:
    case LS_WORK_BACKWARD:
    case LS_WORK_WEIGHT_GRAD:
    case LS_WORK_GRAD_CUT: return LS_PHASE_BACKWARD;
    case LS_WORK_EXCHANGE:
    case LS_WORK_UPDATE_EXCHANGE:
    case LS_WORK_GRADIENT_SUM: return LS_PHASE_COMMUNICATION;
    case LS_WORK_SELECT: return LS_PHASE_DATA;
    case LS_WORK_UPDATE: return LS_PHASE_UPDATE;
    case LS_WORK_COUNT: break;
    }
    return LS_PHASE_OTHER;
}

static ls_pass pass_of(const ls_span *span) {
    switch ((ls_work)span->work) {
    case LS_WORK_GRAD_SUMS:
    case LS_WORK_BACKWARD:
    case LS_WORK_GRAD_CUT: return LS_PASS_BACKWARD;
    case LS_WORK_WEIGHT_GRAD: return LS_PASS_WEIGHT_GRAD;
    default: return LS_PASS_FORWARD;
    }
}

/* Pieces over shards and parts run on all threads at once, what is made of a cut on one. */
static bool is_shared_out(const ls_span *span) {
    return span->work != LS_WORK_CUT && span->work != LS_WORK_GRAD_CUT;
}

void ls_step_times_add(ls_step_times *t, const ls_timeline *timeline, const int64_t *from, int threads,
                       const ls_graph *graph, double begin, double end, double processor) {
    const int64_t step = t->counted++;
    double *other = &t->phases[LS_PHASE_OTHER * t->steps + step];
    t->seconds[step] = *other = end - begin;
    t->processor[step] = processor;
    t->exchanges = 0;
    for (int m = 0; m < threads; m++) {
        int64_t count;
        const ls_span *spans = ls_timeline_spans(timeline, m, &count);
        for (int64_t i = from[m]; i < count; i++) {
            const ls_span *span = &spans[i];
            const double seconds = span->end - span->begin;
            t->exchanges += span->work == LS_WORK_EXCHANGE;
            if (m == 0) {
                t->phases[phase_of(span, graph) * t->steps + step] += seconds;
                *other -= seconds;
            }
            if (span->op >= 0)
                t->passes[((int64_t)span->op * LS_PASSES + pass_of(span)) * t->steps + step] +=
                    is_shared_out(span) ? seconds / threads : seconds;
        }
    }
}

/* The slowest rank's time of each step, and all ranks' processor time. */
static ls_status combine_steps(ls_step_times *t, ls_comm *comm, double *all) {
    LS_TRY(ls_comm_allgather_equal(comm, t->seconds, (size_t)t->counted * sizeof *all, all));
    for (int64_t i = 0; i < t->counted; i++)
        for (int r = 0; r < comm->size; r++)
            if (all[r * t->counted + i] > t->seconds[i]) t->seconds[i] = all[r * t->counted + i];
    LS_TRY(ls_comm_allgather_equal(comm, t->processor, (size_t)t->counted * sizeof *all, all));
    for (int64_t i = 0; i < t->counted; i++) {
        t->processor[i] = 0;
        for (int r = 0; r < comm->size; r++) t->processor[i] += all[r * t->counted + i];
    }
    return LS_OK;
}

/* Each rank's median over steps, over the ranks. */
static ls_status combine_one(ls_comm *comm, double *steps, int64_t count, ls_spread *spread) {
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    const double own = ls_spread_of(steps, count).median;
    LS_TRY(ls_comm_allgather_equal(comm, &own, sizeof own, all));
    *spread = ls_spread_of(all, comm->size);
    return LS_OK;
}

/* A rank may have done more of a piece than another, or nothing: each step's mean over ranks, over the steps.
 */
static ls_status combine_pass(ls_comm *comm, const double *steps, int64_t count, double *all, double *pass) {
    LS_TRY(ls_comm_allgather_equal(comm, steps, (size_t)count * sizeof *all, all));
    for (int64_t i = 0; i < count; i++) {
        for (int r = 1; r < comm->size; r++) all[i] += all[r * count + i];
        all[i] /= comm->size;
    }
    *pass = ls_spread_of(all, count).median;
    return LS_OK;
}

ls_status ls_step_times_combine(ls_step_times *t, ls_comm *comm) {
    double *all;
    ls_status status = ls_calloc(&all, (size_t)comm->size * (size_t)t->counted, sizeof *all, "the times");
    LS_TRY(ls_comm_agree(comm, status));
    status = combine_steps(t, comm, all);
    for (int p = 0; p < LS_STEP_PHASES && status == LS_OK; p++)
        status = combine_one(comm, t->phases + p * t->steps, t->counted, &t->phase[p]);
    for (int i = 0; i < t->ops * LS_PASSES && status == LS_OK; i++)
        status = combine_pass(comm, t->passes + i * t->steps, t->counted, all, &t->pass[i]);
    free(all);
    return status;
}
