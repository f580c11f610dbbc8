/* The record of a run, which rank 0 keeps: the run folder with its lock, config.yaml, metrics.h5, and
 * checkpoints. On other ranks it only knows the folder's name. */
#ifndef LOCKSTEP_TRAIN_RECORDER_H
#define LOCKSTEP_TRAIN_RECORDER_H

#include "io/metrics.h"
#include "train/checkpoints.h"
#include "train/trainer.h"

typedef struct ls_recorder {
    ls_trainer *trainer;
    char *folder;
    char *config_yaml; /* what the numbers depend on, canonical */
    ls_best best;
    ls_metrics *metrics; /* rank 0 only, as the lock */
    int lock;
} ls_recorder;

/* Opens the run folder as `output`, `overwrite` and `resume` say. With a checkpoint to go on from, state and
 * history are read into the trainer's records and the metrics, and *resumed says where; otherwise
 * resumed->mark.step is 0 and *from_checkpoint false. Nothing in the folder changes unless all is well.
 * Local; rank 0 calls it. */
ls_status ls_recorder_open(ls_recorder *recorder, const char *config_path, ls_resumed *resumed,
                           bool *from_checkpoint);
/* Training begins or goes on: config.yaml is written, and a test result that a longer run will replace is
 * forgotten. Not called where a run had ended, so that nothing of it changes. Rank 0. */
ls_status ls_recorder_begin(ls_recorder *recorder);
void ls_recorder_close(ls_recorder *recorder);

/* The last step: its row, and a fingerprint every trail_interval steps. Rank 0. */
ls_status ls_recorder_step(ls_recorder *recorder);
/* The last epoch: its row. Rank 0. */
ls_status ls_recorder_epoch(ls_recorder *recorder, const ls_epoch_row *row);
/* A test after the last epoch: its row. Rank 0. */
ls_status ls_recorder_test(ls_recorder *recorder, const ls_test_row *row);
/* Is the last epoch the best so far? Every rank keeps count, since all must agree on when to save. */
void ls_recorder_note_best(ls_recorder *recorder, double validation_loss);
/* A checkpoint of the state now. Rank 0. */
ls_status ls_recorder_save(ls_recorder *recorder, bool finished);
/* Is a checkpoint due after this step? The same on every rank. */
bool ls_recorder_due(const ls_recorder *recorder);

#endif
