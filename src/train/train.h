/* The verbs that train and evaluate. Both are collective. */
#ifndef LOCKSTEP_TRAIN_TRAIN_H
#define LOCKSTEP_TRAIN_TRAIN_H

#include "dist/comm.h"
#include "io/config.h"

/* Trains as the configuration says and leaves config.yaml, metrics.h5 and a checkpoint in the run folder. config_path is
 * for the record; comm has the time-out of the configuration. The last line printed is `fingerprint <16 hex digits>`. */
ls_status ls_train(ls_comm *comm, ls_config *config, const char *config_path);

/* Loads a checkpoint and prints loss and accuracy on the validation and test samples; `overrides` may change keys of the
 * run (data, threads, eval_batch). */
ls_status ls_eval(ls_comm *comm, const char *checkpoint_path, const char *const *overrides, int override_count);

#endif
