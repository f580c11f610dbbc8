/* Signals that ask a run to stop. A handler only sets a flag; the trainer makes it known to all ranks with
 * the sum of each batch, of training or of evaluation, and all stop after the same one. SIGUSR1, SIGTERM, the
 * first SIGINT, SIGHUP (the terminal is gone; not under nohup), SIGXCPU (the soft limit of processor time):
 * stop after this batch (exit code 75). Training writes a checkpoint first, and goes on from it
 * with an evaluation that was given up. a second SIGINT: stop at once */
#ifndef LOCKSTEP_TRAIN_SIGNALS_H
#define LOCKSTEP_TRAIN_SIGNALS_H

#include <stdbool.h>

#include "core/status.h"

/* Installs the handlers for this process. LS_INTERNAL: the system refuses. */
ls_status ls_signals_install(void);

/* Has one of them come to this process? */
bool ls_signals_stop_wanted(void);

#endif
