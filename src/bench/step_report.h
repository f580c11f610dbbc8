/* What `bench step` says: a table for people, or one JSON object. */
#ifndef LOCKSTEP_BENCH_STEP_REPORT_H
#define LOCKSTEP_BENCH_STEP_REPORT_H

#include "bench/kinds.h"
#include "bench/step_run.h"

typedef struct ls_step_found {
    ls_step_run run;
    ls_ceilings ceilings;
    ls_spread peak_memory; /* bytes, over ranks */
} ls_step_found;

/* On rank 0, to standard output. */
void ls_step_print(const ls_bench *bench, const ls_step_found *found);
void ls_step_write_json(const ls_bench *bench, const ls_step_found *found);

#endif
