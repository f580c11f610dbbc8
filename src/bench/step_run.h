/* Training steps that are timed. */
#ifndef LOCKSTEP_BENCH_STEP_RUN_H
#define LOCKSTEP_BENCH_STEP_RUN_H

#include "bench/kinds.h"
#include "bench/step_times.h"

typedef struct ls_step_run {
    ls_trainer *trainer;
    ls_timeline *timeline; /* NULL: a GPU takes the steps by itself, and their pieces are not timed */
    ls_step_times times;
    int64_t full_batch; /* samples */
    double *losses;     /* mean loss of every step from the first on, warm-up included */
    int64_t loss_count;
} ls_step_run;

/* A trainer as the options want it, and room for all its steps. ls_step_run_destroy() is due even after a
 * failure. Collective. */
ls_status ls_step_run_create(const ls_bench *bench, ls_step_run *run);
void ls_step_run_destroy(ls_step_run *run);

/* One step; `timed` ones count if they are on a whole batch. `keep`: its spans stay in the timeline.
 * Collective. */
ls_status ls_step_run_one(ls_step_run *run, bool timed, bool keep);

/* After the last step: the times over all ranks. LS_USAGE on all ranks: no timed step had a whole batch.
 * Collective. */
ls_status ls_step_run_combine(ls_step_run *run);

#endif
