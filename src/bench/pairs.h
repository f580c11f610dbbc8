/* Messages between hosts by themselves: what a network does for a pair of ranks, and how far clocks differ. */
#ifndef LOCKSTEP_BENCH_PAIRS_H
#define LOCKSTEP_BENCH_PAIRS_H

#include "bench/spread.h"
#include "dist/comm.h"

/* The first ranks of two hosts. */
typedef struct ls_pair {
    int host, other;
    ls_spread latency; /* seconds of 8 bytes, one way */
    ls_spread seconds; /* of LS_PAIR_BYTES, one way */
    double clock;      /* seconds by which the clock of `other` is ahead, to within the latency */
} ls_pair;

enum { LS_PAIR_BYTES = 1 << 20 };

/* Measures each pair of hosts, one after the other, so many round trips each: *pairs [*count], owned by the
 * caller, the same on all ranks. NULL and 0 on one host. Collective. */
ls_status ls_time_pairs(ls_comm *comm, int64_t repeats, ls_pair **pairs, int *count);

#endif
