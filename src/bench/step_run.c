#include "bench/step_run.h"

#include <stdlib.h>

#include "bench/machine.h"
#include "core/clock.h"

enum { MOST_THREADS = 256 }; /* train/options.c */

static ls_status allocate(const ls_bench *bench, ls_step_run *run) {
    ls_trainer *t = run->trainer;
    const int64_t samples = ls_trainer_epoch_samples(t);
    const size_t losses = (size_t)(bench->options.bench_warmup + bench->options.bench_steps);
    run->full_batch = samples < t->options.batch ? samples : t->options.batch;
    LS_TRY(ls_calloc(&run->losses, losses, sizeof *run->losses, "the losses"));
    LS_TRY(
        ls_step_times_create(bench->options.bench_steps, ls_graph_op_count(t->training.graph), &run->times));
    t->ahead = true;
    return t->device_step && !bench->trace ? LS_OK : ls_timeline_create(t, &run->timeline);
}

ls_status ls_step_run_create(const ls_bench *bench, ls_step_run *run) {
    *run = (ls_step_run){0};
    LS_TRY(ls_bench_trainer(bench, &run->trainer));
    return ls_comm_agree(bench->comm, allocate(bench, run));
}

void ls_step_run_destroy(ls_step_run *run) {
    ls_step_times_destroy(&run->times);
    ls_timeline_destroy(&run->timeline);
    free(run->losses);
    ls_trainer_destroy(&run->trainer);
}

ls_status ls_step_run_one(ls_step_run *run, bool timed, bool keep) {
    ls_trainer *t = run->trainer;
    int64_t from[MOST_THREADS];
    const int threads = run->timeline ? ls_team_size(t->team) : 0;
    if (run->timeline) ls_timeline_begin_step(run->timeline, keep);
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

ls_status ls_step_run_combine(ls_step_run *run) {
    ls_comm *comm = run->trainer->comm;
    if (run->times.counted == 0)
        return ls_comm_everywhere(comm, ls_fail(LS_USAGE,
                                                "bench: no timed step had a whole batch; expected a larger "
                                                "bench_steps"));
    return ls_step_times_combine(&run->times, comm);
}
