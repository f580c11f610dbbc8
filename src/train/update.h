/* The end of a step: every gradient is found finite before any parameter changes, and the optimizer updates.
 *
 * It notices bits that flip in parameters and moments between two updates. Ranks that share a window have them
 * once, so there is no replica to compare with; but between the end of an update and the begin of the next
 * nobody writes them. So each thread adds up the bits that it leaves, and again those that it finds at the next
 * update (ls_optimizer_apply()). */
#ifndef LOCKSTEP_TRAIN_UPDATE_H
#define LOCKSTEP_TRAIN_UPDATE_H

#include "core/team.h"
#include "dist/gradient.h"
#include "graph/observer.h"
#include "model/optimizer.h"

typedef struct ls_updater ls_updater;

/* For rank `rank`: updates what is its own of the parameters, on the team's threads. All that it is given must outlive it.
 * LS_INTERNAL: out of memory. Local. */
ls_status ls_updater_create(int rank, ls_parameters *parameters, ls_gradient *gradient, ls_team *team,
                            bool guarded, ls_updater **updater);
void ls_updater_destroy(ls_updater **updater);

/* Guards the parameters and moments as they are now, until the first update: when all ranks have set them.
 * Local. */
void ls_updater_watch(ls_updater *updater);

/* Where a device updates by itself (train/device_step.h), one rank alone: the sum of the bits that are
 * guarded, false if none are; and what an update has found: others, or not, and the sum of those that it has
 * left. */
bool ls_updater_guard(const ls_updater *updater, uint64_t *sum);
void ls_updater_left(ls_updater *updater, uint64_t sum, bool flipped);

/* Is the gradient finite, over all ranks? *parameter is that of the lowest index that is not, on ranks that know,
 * or -1. `finite`: so are those that a plan computes over all shards, as far as this rank knows. Collective. */
ls_status ls_updater_check(ls_updater *updater, bool finite, const ls_observer *observer, int *parameter);

/* Updates. Collective. */
ls_status ls_updater_run(ls_updater *updater, const ls_update *update, const ls_observer *observer);

/* Looks whether they are what the last update has left. Local. */
void ls_updater_look(ls_updater *updater);
/* LS_REPLICAS_DIFFER where an update or a look has found that they were not; `step` is for the message. */
ls_status ls_updater_unchanged(const ls_updater *updater, int64_t step);

#endif
