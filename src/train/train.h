/* The verb that trains. Collective. */
#ifndef LOCKSTEP_TRAIN_TRAIN_H
#define LOCKSTEP_TRAIN_TRAIN_H

#include "dist/comm.h"
#include "io/config.h"

/* Trains as the configuration says and leaves config.yaml, metrics.h5 and a checkpoint in the run folder.
 * config_path is for the record; comm has the time-out of the configuration. The last line printed is
 * `fingerprint <16 hex digits>`. trace: file for a timeline of the first ten steps (train/timeline.h), and if
 * that cannot be written, the run ends there; NULL: none. */
ls_status ls_train(ls_comm *comm, ls_config *config, const char *config_path, const char *trace);

#endif
