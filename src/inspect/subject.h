/* What a path on the command line leads to: a checkpoint, a metrics.h5, a run folder with both, or a file
 * that eval or attack wrote. */
#ifndef LOCKSTEP_INSPECT_SUBJECT_H
#define LOCKSTEP_INSPECT_SUBJECT_H

#include "inspect/saved_model.h"
#include "inspect/saved_result.h"
#include "io/metrics_file.h"

typedef enum ls_subject_kind {
    LS_SUBJECT_CHECKPOINT,
    LS_SUBJECT_METRICS,
    LS_SUBJECT_RUN,
    LS_SUBJECT_EVALUATION,
    LS_SUBJECT_ATTACK
} ls_subject_kind;

typedef struct ls_subject {
    const char *path; /* the caller's */
    ls_subject_kind kind;
    ls_metrics_file *metrics; /* of a run: NULL if it has none yet */
    ls_saved_model *model;    /* of a run: its newest good checkpoint, NULL if it has none yet */
    ls_saved_result *result;
} ls_subject;

/* Reads all of it. LS_BAD_DATA with the file's name: not there, damaged, or a folder without a run;
 * checkpoints of a run that are passed over for an older one are logged. */
ls_status ls_subject_read(const char *path, ls_subject *subject);
void ls_subject_destroy(ls_subject *subject);

#endif
