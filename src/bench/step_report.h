/* What `bench step` says: a table for people, or one JSON object. */
#ifndef LOCKSTEP_BENCH_STEP_REPORT_H
#define LOCKSTEP_BENCH_STEP_REPORT_H

#include "bench/kinds.h"
#include "bench/step_times.h"

typedef struct ls_step_run {
    ls_trainer *trainer;
    ls_timeline *timeline;
    ls_ceilings *ceilings;
    ls_step_times times;
    int64_t full_batch; /* samples */
    double *losses;     /* mean loss of every step from the first on, warm-up included */
    int64_t loss_count;
    ls_spread peak_memory; /* bytes, over ranks */
} ls_step_run;

/* On rank 0, to standard output. */
void ls_step_print(const ls_bench *bench, const ls_step_run *run);
void ls_step_write_json(const ls_bench *bench, const ls_step_run *run);

#endif
