/* What run folders and result files are audited with. Local but where it says so. */
#ifndef LOCKSTEP_TRAIN_AUDITED_H
#define LOCKSTEP_TRAIN_AUDITED_H

#include "train/audit.h"

/* LS_BAD_DATA: a run of those bits (NULL: nobody knows) cannot be made again by this build. */
ls_status ls_audit_check_bits(const char *path, const char *bits);

/* Collective. A trainer of a recorded configuration, with the request's overrides, all of which the caller
 * destroys, after a failure too. `text` is the same on all ranks. */
typedef struct ls_audited {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_trainer *trainer;
} ls_audited;
ls_status ls_audited_create(ls_comm *comm, const char *name, const char *text,
                            const ls_audit_request *request, ls_audited *audited);
void ls_audited_destroy(ls_audited *audited);

#endif
