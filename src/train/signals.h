/* Signals that ask a run to stop. A handler only sets a flag; the trainer makes it known to all ranks with the step's
 * sum, and all stop after the same step.
 *   SIGUSR1, SIGTERM, the first SIGINT: stop after this step, with a checkpoint (exit code 75)
 *   a second SIGINT: stop at once */
#ifndef LOCKSTEP_TRAIN_SIGNALS_H
#define LOCKSTEP_TRAIN_SIGNALS_H

#include <stdbool.h>

#include "core/status.h"

/* Installs the handlers for this process. LS_INTERNAL: the system refuses. */
ls_status ls_signals_install(void);

/* Has one of them come? */
bool ls_signals_stop_wanted(void);

#endif
