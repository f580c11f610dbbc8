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

/* The second of these. */
ls_status ls_audit_result(ls_comm *comm, const ls_audit_request *request);

#endif
