/* `lockstep audit`: is a run what it says? Collective. */
#ifndef LOCKSTEP_TRAIN_AUDIT_H
#define LOCKSTEP_TRAIN_AUDIT_H

#include "dist/comm.h"
#include "train/replay.h"

typedef struct ls_audit_request {
    const char *path;             /* a run folder, or a result file of experiments/results (*.json) */
    const char *const *overrides; /* KEY=VALUE: keys of the run (data, threads, device) */
    int override_count;
    int64_t segments; /* so many, drawn at random; 0: all */
    bool apart;       /* each rank replays segments of its own, alone */
} ls_audit_request;

/* A run folder: trains segments between its checkpoints once more (the first begins with the seed, the last
 * ends with the last row of a run that was cut off) and compares rows, trail and checkpoints, to the bit. A
 * result file: trains from the seed to the end and compares history and fingerprint. Prints a line each.
 * LS_DIFFERENT: something is not as it was recorded. LS_BAD_DATA: there is no run. */
ls_status ls_audit(ls_comm *comm, const ls_audit_request *request);

/* LS_BAD_DATA: a run of those bits (NULL: nobody knows) cannot be made again by this build. */
ls_status ls_audit_check_bits(const char *path, const char *bits);

/* The second of these. */
ls_status ls_audit_result(ls_comm *comm, const ls_audit_request *request);

/* A trainer of a recorded configuration, with the request's overrides, all of which the caller destroys,
 * after a failure too. `text` is the same on all ranks. */
typedef struct ls_audited {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_trainer *trainer;
} ls_audited;
ls_status ls_audited_create(ls_comm *comm, const char *name, const char *text,
                            const ls_audit_request *request, ls_audited *audited);
void ls_audited_destroy(ls_audited *audited);

#endif
