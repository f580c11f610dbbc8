/* `bench step`: the training step as training runs it. */
#include <math.h>

#include "bench/kinds.h"
#include "bench/machine.h"
#include "bench/step_report.h"

enum { TRACED_STEPS = 10 };

/* Steps between two measurements of the ceilings: they are made before, after, and at most so often between.
 */
static int64_t series_interval(const ls_bench *bench) {
    const int64_t parts = 4;
    return (bench->options.bench_steps + parts - 1) / parts;
}

static ls_status run_steps(const ls_bench *bench, ls_step_run *run, ls_ceilings *ceilings) {
    const int64_t interval = series_interval(bench), steps = bench->options.bench_steps;
    for (int64_t i = 0; i < bench->options.bench_warmup; i++) LS_TRY(ls_step_run_one(run, false, false));
    for (int64_t i = 0; i < steps; i++) {
        if (i > 0 && i % interval == 0) LS_TRY(ls_ceilings_measure_registers(ceilings));
        LS_TRY(ls_step_run_one(run, true, bench->trace && i > 0 && i < TRACED_STEPS));
        if (bench->trace && (i + 1 == TRACED_STEPS || (i + 1 == steps && steps < TRACED_STEPS)))
            LS_TRY(ls_timeline_write(run->timeline, bench->trace));
    }
    return LS_OK;
}

static ls_status measure_memory(ls_comm *comm, bool forgotten, ls_spread *peak) {
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    const double own = forgotten ? ls_memory_peak() : (double)NAN;
    LS_TRY(ls_comm_allgather_equal(comm, &own, sizeof own, all));
    *peak = ls_spread_of(all, comm->size);
    return LS_OK;
}

static ls_status measure(const ls_bench *bench, ls_step_found *found) {
    ls_ceilings *ceilings = &found->ceilings;
    LS_TRY(ls_bench_ceilings(bench, ceilings));
    LS_TRY(ls_ceilings_measure_copy(ceilings));
    const bool forgotten = ls_memory_forget_peak();
    LS_TRY(ls_step_run_create(bench, &found->run));
    LS_TRY(ls_ceilings_measure_registers(ceilings));
    LS_TRY(run_steps(bench, &found->run, ceilings));
    LS_TRY(ls_ceilings_measure_registers(ceilings));
    LS_TRY(measure_memory(bench->comm, forgotten, &found->peak_memory));
    LS_TRY(ls_ceilings_measure_copy(ceilings));
    return ls_step_run_combine(&found->run);
}

ls_status ls_bench_step(const ls_bench *bench) {
    ls_step_found found = {0};
    const ls_status status = measure(bench, &found);
    if (status == LS_OK && bench->comm->rank == 0)
        (bench->json ? ls_step_write_json : ls_step_print)(bench, &found);
    ls_step_run_destroy(&found.run);
    ls_ceilings_destroy(&found.ceilings);
    return status;
}
