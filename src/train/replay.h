/* A stretch of a run trained once more, step by step beside what the run recorded of it. */
#ifndef LOCKSTEP_TRAIN_REPLAY_H
#define LOCKSTEP_TRAIN_REPLAY_H

#include "io/metrics_file.h"
#include "train/trainer.h"

/* The first thing that is not as it was recorded, in words; empty: nothing. */
typedef struct ls_difference {
    char text[512];
} ls_difference;

/* Keeps the text where there is none yet. */
void ls_differ(ls_difference *difference, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct ls_stretch {
    uint64_t to;         /* train until this many steps are done */
    bool evaluate_first; /* the epoch that has ended was not evaluated yet */
    bool evaluate_last;  /* and one that ends with the last step is */
    bool finished;       /* the run came to its end there, and was tested */
} ls_stretch;

/* Trains on from where the trainer stands, as train.c does, with all evaluations, and compares every row that
 * `recorded` has (rank 0; NULL on others, and where there are none), to the bit. What cannot be trained is a
 * difference too. LS_STOPPED: a signal came. Collective. */
ls_status ls_replay(ls_trainer *trainer, const ls_stretch *stretch, const ls_metrics_file *recorded,
                    ls_difference *difference);

#endif
