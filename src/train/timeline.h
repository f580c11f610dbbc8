/* When each piece of a trainer's steps began and ended, on each thread of each rank. */
#ifndef LOCKSTEP_TRAIN_TIMELINE_H
#define LOCKSTEP_TRAIN_TIMELINE_H

#include "train/trainer.h"

typedef struct ls_span {
    double begin, end; /* seconds of ls_clock() */
    int64_t step;      /* from 1 on */
    int32_t work;      /* ls_work */
    int32_t op;        /* index on the tape of the training graph; -1: of no op */
} ls_span;

/* "forward", "weight gradient", .. */
extern const char *const ls_work_names[LS_WORK_COUNT];

typedef struct ls_timeline ls_timeline;

/* Watches the trainer's steps from now on; ls_timeline_destroy() ends that, before the trainer is destroyed.
 * The trainer must outlive it. Local. */
ls_status ls_timeline_create(ls_trainer *trainer, ls_timeline **timeline);
void ls_timeline_destroy(ls_timeline **timeline);

/* Called before each step: forgets the spans so far, unless they are to be kept. Local. */
void ls_timeline_begin_step(ls_timeline *timeline, bool keep);

/* The spans of a thread since the last step that was not kept, in order. Local. */
const ls_span *ls_timeline_spans(const ls_timeline *timeline, int member, int64_t *count);

/* Rank 0 writes all spans of all ranks as Chrome's trace format (a JSON array of complete events;
 * chrome://tracing, Perfetto): one process a rank, one row a thread, times from the earliest span on. Clocks
 * of ranks on one node are the same; of several nodes each begins at its own earliest span. LS_OUTPUT on all
 * ranks. Collective. */
ls_status ls_timeline_write(ls_timeline *timeline, const char *path);

#endif
