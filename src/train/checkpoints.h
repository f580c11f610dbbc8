/* The checkpoints of a run folder: written every so often, pruned, and found again. All local; rank 0 calls
 * them. */
#ifndef LOCKSTEP_TRAIN_CHECKPOINTS_H
#define LOCKSTEP_TRAIN_CHECKPOINTS_H

#include "io/checkpoint.h"
#include "io/metrics.h"
#include "train/trainer.h"

/* The best epoch so far by validation loss (without a validation set: by nothing), whose checkpoint is not
 * pruned. */
typedef struct ls_best {
    double step; /* 0: none yet; a double, since it is stored beside the loss */
    double loss;
} ls_best;

/* The steps of the checkpoints in a folder, newest first; freed with free(), after a failure too. Not one is
 * opened. */
ls_status ls_checkpoints_list(const char *folder, uint64_t **steps, int *count);
/* FOLDER/checkpoint-<step>.h5; owned by the caller. */
ls_status ls_checkpoints_path(const char *folder, uint64_t step, char **path);

/* Writes the checkpoint of the trainer's state, with the metrics so far, into FOLDER; then removes all but
 * the newest `keep` and the best. LS_OUTPUT with path: then the older ones are as they were. */
ls_status ls_checkpoints_save(const char *folder, ls_trainer *trainer, const char *config_yaml,
                              ls_metrics *metrics, const ls_best *best, bool finished);

/* What a checkpoint holds beside the model's state. */
typedef struct ls_resumed {
    ls_progress_mark mark;
    ls_score epoch_score;
    ls_best best;
    bool evaluation_due; /* of the epoch that has ended: the run was stopped in it */
} ls_resumed;

/* Opens the checkpoint to resume from: `resume` is a file, or "auto" for the newest of FOLDER that verifies;
 * why a newer one was passed over is logged. *checkpoint is NULL for "auto" in a folder that has none.
 * LS_BAD_DATA: there are some, but none is good. */
ls_status ls_checkpoints_find(const char *folder, const char *resume, ls_checkpoint **checkpoint);

/* Checks that the checkpoint belongs to this configuration and data and reads state, history and progress
 * from it. LS_USAGE: a key of the result differs (both values); LS_BAD_DATA: other data, or records that do
 * not fit. */
ls_status ls_checkpoints_load(const ls_checkpoint *checkpoint, ls_trainer *trainer, const char *config_yaml,
                              ls_metrics *metrics, ls_resumed *resumed);

#endif
