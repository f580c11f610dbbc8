/* How long sums over the ranks take: ours, and MPI's of the same bytes, turn by turn. */
#ifndef LOCKSTEP_BENCH_COMM_TIMES_H
#define LOCKSTEP_BENCH_COMM_TIMES_H

#include "bench/spread.h"
#include "core/backend.h"
#include "core/team.h"
#include "dist/comm.h"

/* One size. Seconds of the slowest rank. */
typedef struct ls_comm_times {
    int64_t bytes; /* of the vector that is summed */
    ls_spread tree, allreduce;
} ls_comm_times;

/* The sum of a gradient of `elements` elements over all shards, as training does it (with its LS_STEP_TOTALS
 * totals), in shared memory where the ranks have some and `window` allows it, `repeats` times; every buffer is
 * written anew before each call, and each sum is checked: numbers are small integers, whose sum is exact in
 * any order. LS_INTERNAL: a sum is wrong. Collective. */
ls_status ls_time_gradient_sum(ls_comm *comm, bool window, ls_team *team, int shards, int64_t elements,
                               const ls_backend *backend, int64_t repeats, ls_comm_times *times);

/* The sum of a vector of `length` doubles at a cut, likewise. */
ls_status ls_time_cut_sum(ls_comm *comm, bool window, ls_team *team, int shards, int64_t length,
                          int64_t repeats, ls_comm_times *times);

/* time = latency + bytes seconds_per_byte, neither below 0: least squares of the relative differences from
 * the medians of `tree`. Local. */
typedef struct ls_comm_fit {
    double latency, seconds_per_byte;
} ls_comm_fit;

ls_comm_fit ls_comm_fit_of(const ls_comm_times *times, int count);

#endif
