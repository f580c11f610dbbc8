/* Steps that a GPU takes by itself, where one rank has all the shards: the host is not asked in between, and
 * reads the outcome afterwards. So the host may begin several steps before it takes the first. The launches
 * of a step are recorded once for each size of batch (two sizes: the last batch of an epoch is smaller), and
 * replayed. What changes from step to step is sent ahead of it (core/now.h); the step's record is fetched
 * behind it. Both lie in page-locked memory, in turn.
 *
 * A step that is not taken (loss or gradient are not finite) changes no parameter or moment. A step that
 * finds a flipped bit is taken and has updated. After either, the steps that were begun already change
 * nothing. */
#ifndef LOCKSTEP_TRAIN_DEVICE_STEP_H
#define LOCKSTEP_TRAIN_DEVICE_STEP_H

#include "core/device_cuda.h"
#include "train/trainer.h"

typedef struct ls_device_step ls_device_step;

/* For the trainer's programs, gradient and updater, which must outlive it. NULL where the trainer has no GPU,
 * or others take part in its steps; why_device then says so. LS_INTERNAL: out of memory. Local. */
ls_status ls_device_step_create(ls_trainer *trainer, ls_device_step **step);
void ls_device_step_destroy(ls_device_step **step);

/* Parameters and moments have been set, and are guarded (ls_updater_watch()): nothing has been begun. */
ls_status ls_device_step_begin(ls_device_step *step);

/* Is another step to be begun before the first of those begun is taken? Not more than a few, none that is
 * behind one after which somebody looks at the state, and none after a signal. */
bool ls_device_step_may_launch(const ls_device_step *step);
ls_status ls_device_step_launch(ls_device_step *step);
/* Waits for the first step that was begun and not taken, and fills in its record. */
ls_status ls_device_step_take(ls_device_step *step, ls_step_record *record);

/* Kernels that a step launches, as of the last that was begun piece by piece; 0 before. */
uint64_t ls_device_step_launches(const ls_device_step *step);

/* What launches begin, recorded for batches of that size, also where there is such a recording: for tests. */
ls_status ls_device_step_record(ls_device_step *step, int64_t batch, ls_replay **replay);

#endif
