/* The kinds of bench and what they share. */
#ifndef LOCKSTEP_BENCH_KINDS_H
#define LOCKSTEP_BENCH_KINDS_H

#include "bench/bench.h"
#include "bench/ceilings.h"
#include "io/json.h"
#include "train/trainer.h"

/* The whole training step, with its phases and layers. Collective. */
ls_status ls_bench_step(const ls_bench *bench);

/* Every piece of its plan by itself. Collective. */
ls_status ls_bench_layers(const ls_bench *bench);

/* Sums over the ranks, against MPI's. Collective. */
ls_status ls_bench_comm(const ls_bench *bench);

/* What a model of computing and communication predicts for other numbers of ranks. Collective. */
ls_status ls_bench_scaling(const ls_bench *bench);

/* The ceilings for the threads and the precision of the configuration, nothing measured yet;
 * ls_ceilings_destroy() is due even after a failure. LS_USAGE on all ranks: there are more of them than
 * shards. Collective. */
ls_status ls_bench_ceilings(const ls_bench *bench, ls_ceilings *ceilings);

/* The trainer on the data that the options ask for, in memory. Collective; every failure is agreed. */
ls_status ls_bench_trainer(const ls_bench *bench, ls_trainer **trainer);

/* Floating-point operations of one sample, two for each product: the nominal count that all rates are made
 * of. */
typedef struct ls_work_count {
    double forward, backward, weight_grad;
} ls_work_count;

/* Of one op of a training graph, by the pieces that carry them out; of all of them. Local. */
ls_work_count ls_op_work(const ls_trainer *trainer, const ls_op *op);
double ls_trainer_work(const ls_trainer *trainer);

/* Members of an open object: what was measured, and on what. */
void ls_bench_write_setting(const ls_bench *bench, const ls_trainer *trainer, ls_json *json);
/* The same as a line for people. */
void ls_bench_print_setting(const ls_bench *bench, const ls_trainer *trainer);

#endif
