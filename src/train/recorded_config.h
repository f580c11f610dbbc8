/* The configuration that a checkpoint or metrics.h5 has recorded, in today's form: an earlier build wrote keys down
 * that nothing read, and may have had fewer. */
#ifndef LOCKSTEP_TRAIN_RECORDED_CONFIG_H
#define LOCKSTEP_TRAIN_RECORDED_CONFIG_H

#include "core/status.h"

/* What ls_config_resolve_result() makes of a recorded text; the text itself where it cannot be read, so that a
 * comparison names the line. LS_INTERNAL: out of memory. Owned by the caller. Local. */
ls_status ls_recorded_config(const char *recorded, char **today);

/* Both texts are canonical, a key a line. LS_USAGE names the first line that differs: "WHOSE was trained with
 * another configuration: there .., here ..". Local. */
ls_status ls_recorded_config_compare(const char *whose, const char *theirs, const char *own);

#endif
