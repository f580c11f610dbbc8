/* Notices bits that flip in the parameters and moments between two updates. Ranks that share a window have
 * them once, so there is no replica to compare with; but between the end of an update and the begin of the
 * next nobody writes them. So each thread adds up the bits that it leaves, and again those that it finds at
 * the next update (ls_optimizer_apply()). */
#ifndef LOCKSTEP_TRAIN_GUARD_H
#define LOCKSTEP_TRAIN_GUARD_H

#include <stdatomic.h>

#include "dist/tree_sum.h"
#include "model/optimizer.h"

typedef struct ls_guard {
    uint64_t *sums; /* [threads] of the elements that a thread has updated; NULL: nothing is watched */
    atomic_bool broken;
} ls_guard;

/* LS_INTERNAL: out of memory. Local. */
ls_status ls_guard_create(ls_guard *guard, int threads);
void ls_guard_destroy(ls_guard *guard);

/* Takes the elements of a thread as they are: when they have been initialised or imported, before the first
 * update. */
void ls_guard_remember(ls_guard *guard, int thread, const ls_parameters *parameters, ls_slice slice);

/* Updates elements [slice) of the parameters on one thread, always the same ones, and sees whether they are
 * what the last update has left. */
void ls_guard_update(ls_guard *guard, int thread, const ls_update *update, ls_parameters *parameters,
                     ls_slice slice);

/* Are they still, on this thread? */
void ls_guard_look(ls_guard *guard, int thread, const ls_parameters *parameters, ls_slice slice);

#endif
