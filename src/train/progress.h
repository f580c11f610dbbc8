/* What rank 0 tells while it trains: a bar that is redrawn on a real terminal, lines otherwise. */
#ifndef LOCKSTEP_TRAIN_PROGRESS_H
#define LOCKSTEP_TRAIN_PROGRESS_H

#include "io/metrics.h"
#include "train/trainer.h"

typedef struct ls_progress {
    int kind; /* ls_progress_kind, never LS_PROGRESS_AUTO; NONE on ranks other than 0 */
    double begin, epoch_begin, drawn, waited; /* seconds of the monotonic clock; communication so far */
    double trained;                           /* when the last step of the epoch was done */
    int64_t first_step;                       /* the step at which this process began */
    int64_t resumed; /* samples of the epoch at hand that an earlier process has done */
    bool bar_shown;
} ls_progress;

/* resumed: samples of the epoch at hand that an earlier process has done. */
void ls_progress_begin(ls_progress *progress, const ls_trainer *trainer, int64_t resumed);
void ls_progress_step(ls_progress *progress, const ls_trainer *trainer);
/* The steps of the epoch are done; evaluations follow, whose time is not that of the images trained on. */
void ls_progress_trained(ls_progress *progress);
/* Fills the row's seconds, images/s and share of communication, and prints it; with a test after the epoch
 * (else NULL) that too. */
void ls_progress_epoch(ls_progress *progress, const ls_trainer *trainer, ls_epoch_row *row,
                       const ls_test_row *test);

#endif
