/* The folder of a run: config.yaml, metrics.h5, checkpoints. A run is never overwritten unasked. */
#ifndef LOCKSTEP_TRAIN_RUN_FOLDER_H
#define LOCKSTEP_TRAIN_RUN_FOLDER_H

#include <stdbool.h>

#include "core/status.h"

/* runs/NAME for a configuration FOLDER/NAME.yaml; owned by the caller. */
ls_status ls_run_folder_default(const char *config_path, char **folder);

/* All local; rank 0 calls them. LS_OUTPUT with path and reason. */

/* Makes the folder and those above it, and locks it until *lock is closed: a second run in it is refused with
 * LS_BUSY. Where the file system has no locks, it warns and goes on. */
ls_status ls_run_folder_open(const char *folder, int *lock);

/* LS_BUSY if the folder holds a run; with `overwrite` removes that run's files, and nothing else. */
ls_status ls_run_folder_clear(const char *folder, bool overwrite);

/* Is this file in that folder? */
bool ls_run_folder_contains(const char *folder, const char *path);

/* Writes FOLDER/NAME as text, whole or not at all. */
ls_status ls_run_folder_write(const char *folder, const char *name, const char *text);

#endif
