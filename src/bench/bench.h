/* `lockstep bench`: how fast a configuration trains here, and what the machine allows. Nothing is written but
 * what is asked for, and no run folder is touched. All is collective; rank 0 alone prints. */
#ifndef LOCKSTEP_BENCH_BENCH_H
#define LOCKSTEP_BENCH_BENCH_H

#include <stdbool.h>

#include "core/keys.h"
#include "dist/comm.h"
#include "io/config.h"

typedef enum ls_bench_data { LS_BENCH_AUTO, LS_BENCH_REAL, LS_BENCH_MADE } ls_bench_data;

/* Keys of bench alone: on the command line, beside those of the configuration. */
typedef struct ls_bench_options {
    int64_t bench_steps, bench_warmup, bench_copy;
    int bench_data;          /* ls_bench_data */
    ls_int_list bench_sizes; /* bytes */
} ls_bench_options;

extern const ls_key_table ls_bench_keys;

/* What to measure, and how to say what was found. */
typedef struct ls_bench {
    ls_comm *comm;
    ls_config *config;
    const char *config_path;
    ls_bench_options options;
    bool json;         /* one object on standard output instead of tables */
    const char *trace; /* file for a timeline of the first measured steps, or NULL */
} ls_bench;

/* The kinds of bench, "step" the first of them; NULL behind the last. */
extern const char *const ls_bench_kinds[];

/* Runs the bench of that kind. LS_USAGE: no such kind; otherwise as training fails. */
ls_status ls_bench_run(const ls_bench *bench, const char *kind);

#endif
