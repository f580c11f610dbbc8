/* The folder of a run: config.yaml, metrics.h5, checkpoints. A run is never overwritten unasked. */
#ifndef LOCKSTEP_TRAIN_RUN_FOLDER_H
#define LOCKSTEP_TRAIN_RUN_FOLDER_H

#include <stdbool.h>

#include "core/status.h"

/* runs/NAME for a configuration FOLDER/NAME.yaml; owned by the caller. */
ls_status ls_run_folder_default(const char *config_path, char **folder);

/* Makes the folder (and those above it), refuses one that holds a run unless `overwrite`, which removes the run's own
 * files and nothing else. LS_BUSY: holds a run; LS_OUTPUT with path and reason. Local; rank 0 calls it. */
ls_status ls_run_folder_prepare(const char *folder, bool overwrite);

/* Writes FOLDER/NAME as text, whole or not at all. */
ls_status ls_run_folder_write(const char *folder, const char *name, const char *text);

#endif
