/* `bench step`: the training step as training runs it. */
#include <math.h>
#include <stdlib.h>

#include "bench/kinds.h"
#include "bench/machine.h"
#include "core/clock.h"
#include "bench/step_report.h"

/* The spans of so many steps go into the trace. */
enum { TRACED_STEPS = 10, MOST_THREADS = 256 };

/* Steps between two measurements of the ceilings: they are made before, after, and at most so often between.
 */
static int64_t series_interval(const ls_bench *bench) {
    const int64_t parts = 4;
    return (bench->options.bench_steps + parts - 1) / parts;
}

/* One step, timed if it is on a full batch and not for warm-up. */
static ls_status run_step(ls_step_run *run, bool timed, bool keep) {
    ls_trainer *t = run->trainer;
    int64_t from[MOST_THREADS]; /* threads: at most 256 (train/options.c) */
    const int threads = ls_team_size(t->team);
    ls_timeline_begin_step(run->timeline, keep);
    for (int m = 0; m < threads; m++) ls_timeline_spans(run->timeline, m, &from[m]);
    const double processor = ls_processor_seconds(), begin = ls_clock();
    LS_TRY(ls_train_step(t));
    const double end = ls_clock();
    run->losses[run->loss_count++] = ls_mean(t->batch_score.loss, t->batch_score.count);
    if (timed && t->batch_score.count == run->full_batch)
        ls_step_times_add(&run->times, run->timeline, from, threads, t->training.graph, begin, end,
                          ls_processor_seconds() - processor);
    return LS_OK;
}

static ls_status run_steps(const ls_bench *bench, ls_step_run *run) {
    const int64_t interval = series_interval(bench), steps = bench->options.bench_steps;
    for (int64_t i = 0; i < bench->options.bench_warmup; i++) LS_TRY(run_step(run, false, false));
    for (int64_t i = 0; i < steps; i++) {
        if (i > 0 && i % interval == 0) LS_TRY(ls_ceilings_measure_registers(run->ceilings));
        LS_TRY(run_step(run, true, bench->trace && i > 0 && i < TRACED_STEPS));
        if (bench->trace && (i + 1 == TRACED_STEPS || (i + 1 == steps && steps < TRACED_STEPS)))
            LS_TRY(ls_timeline_write(run->timeline, bench->trace));
    }
    return LS_OK;
}

static ls_status allocate(const ls_bench *bench, ls_step_run *run) {
    ls_trainer *t = run->trainer;
    const int64_t samples = ls_trainer_epoch_samples(t);
    const size_t losses = (size_t)(bench->options.bench_warmup + bench->options.bench_steps);
    run->full_batch = samples < t->options.batch ? samples : t->options.batch;
    LS_TRY(ls_calloc(&run->losses, losses, sizeof *run->losses, "the losses"));
    LS_TRY(
        ls_step_times_create(bench->options.bench_steps, ls_graph_op_count(t->training.graph), &run->times));
    return ls_timeline_create(t, &run->timeline);
}

static ls_status measure_memory(ls_comm *comm, bool forgotten, ls_spread *peak) {
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    const double own = forgotten ? ls_memory_peak() : (double)NAN;
    LS_TRY(ls_comm_allgather_equal(comm, &own, sizeof own, all));
    *peak = ls_spread_of(all, comm->size);
    return LS_OK;
}

static ls_status measure(const ls_bench *bench, ls_step_run *run) {
    LS_TRY(ls_ceilings_measure_copy(run->ceilings));
    const bool forgotten = ls_memory_forget_peak();
    LS_TRY(ls_bench_trainer(bench, &run->trainer));
    LS_TRY(ls_comm_agree(bench->comm, allocate(bench, run)));
    LS_TRY(ls_ceilings_measure_registers(run->ceilings));
    LS_TRY(run_steps(bench, run));
    LS_TRY(ls_ceilings_measure_registers(run->ceilings));
    LS_TRY(measure_memory(bench->comm, forgotten, &run->peak_memory));
    LS_TRY(ls_ceilings_measure_copy(run->ceilings));
    if (run->times.counted == 0)
        return ls_comm_everywhere(bench->comm,
                                  ls_fail(LS_USAGE, "bench: no timed step had a whole batch; expected a "
                                                    "larger bench_steps"));
    return ls_step_times_combine(&run->times, bench->comm);
}

ls_status ls_bench_step(const ls_bench *bench) {
    ls_ceilings ceilings;
    ls_step_run run = {.ceilings = &ceilings};
    ls_status status = ls_bench_ceilings(bench, &ceilings);
    if (status == LS_OK) status = measure(bench, &run);
    if (status == LS_OK && bench->comm->rank == 0)
        (bench->json ? ls_step_write_json : ls_step_print)(bench, &run);
    ls_step_times_destroy(&run.times);
    ls_timeline_destroy(&run.timeline);
    free(run.losses);
    ls_trainer_destroy(&run.trainer);
    ls_ceilings_destroy(&ceilings);
    return status;
}
