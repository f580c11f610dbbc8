/* How much memory a network takes, before any of it is taken: what `lockstep inspect CONFIG` prints, and what a
 * run is refused for where there is less. */
#ifndef LOCKSTEP_TRAIN_MEMORY_H
#define LOCKSTEP_TRAIN_MEMORY_H

#include "dist/comm.h"
#include "train/preview.h"

/* Bytes on rank 0 of so many, which has the most shards. */
typedef struct ls_memory {
    size_t state; /* parameters and moments: ranks of one node may share them */
    size_t gradients, training, evaluating;
} ls_memory;

static inline size_t ls_memory_sum(const ls_memory *m) {
    return m->state + m->gradients + m->training + m->evaluating;
}

/* Of the configuration's network on so many ranks. LS_USAGE as ls_preview_create(). Local. */
ls_status ls_memory_estimate(const ls_config *config, int ranks, ls_memory *memory);

/* LS_INTERNAL, with both numbers: the ranks of some node need more than it has, and the configuration does not
 * say memory=ignore. Where no data is found, nothing is said: reading it will fail. Collective, agreed. */
ls_status ls_memory_check(ls_comm *comm, const ls_config *config);

#endif
