/* HDF5 files of what a verb found out about a checkpoint: sealed and written whole like checkpoints
 * (io/hdf5.h), with the checkpoint's /config/yaml and, as attributes of the root, format, step, fingerprint,
 * data_set and data_digest. */
#ifndef LOCKSTEP_TRAIN_RESULT_FILE_H
#define LOCKSTEP_TRAIN_RESULT_FILE_H

#include "io/hdf5.h"
#include "train/restore.h"

#define LS_EVALUATION_KIND "evaluation"
#define LS_ATTACK_KIND     "attack"
enum { LS_RESULT_FILE_VERSION = 1, LS_MAX_EPSILONS = 64, LS_WORST_MISTAKES = 10 };

/* Begins a file of this kind ("evaluation", "attack"). Local; rank 0 calls it. */
ls_status ls_result_file_create(const char *path, const char *kind, const ls_restored *restored,
                                ls_h5_file **file);
ls_status ls_result_file_commit(ls_h5_file *file, const char *kind);

#endif
