/* What `lockstep eval --output` and `lockstep attack --output` wrote (train/result_file.h), read back. Trusts
 * nothing: the seal first, then only the names below, hard links, exact types, sizes that fit the file
 * (io/hdf5.h). */
#ifndef LOCKSTEP_INSPECT_SAVED_RESULT_H
#define LOCKSTEP_INSPECT_SAVED_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "train/result_file.h"

enum { LS_SAVED_PARTS = 2 };

/* One set of samples of an evaluation. */
typedef struct ls_saved_part {
    const char *name; /* "validation", "test" */
    bool there;
    uint64_t samples;
    double loss, accuracy, uncertainty;
    int64_t classes;
    int64_t *confusion; /* [true class][predicted class] */
    int64_t worst;      /* the worst mistakes, LS_WORST_MISTAKES at most */
    int64_t sample[LS_WORST_MISTAKES], class[LS_WORST_MISTAKES], predicted[LS_WORST_MISTAKES];
    double probability[LS_WORST_MISTAKES], mistake_loss[LS_WORST_MISTAKES];
} ls_saved_part;

typedef struct ls_saved_result {
    char *path, *config;
    const char *kind;                        /* LS_EVALUATION_KIND, LS_ATTACK_KIND */
    uint64_t size;                           /* bytes */
    uint64_t step, fingerprint, data_digest; /* the checkpoint's; of the data that it was tried on */
    ls_saved_part parts[LS_SAVED_PARTS];     /* of an evaluation */
    /* of an attack */
    uint64_t samples;
    int64_t epsilons, examples;
    double epsilon[LS_MAX_EPSILONS], loss[LS_MAX_EPSILONS], accuracy[LS_MAX_EPSILONS];
    int64_t *sample, *class; /* [examples] */
    int64_t *predicted;      /* [epsilons][examples] */
} ls_saved_result;

/* `kind`: LS_EVALUATION_KIND or LS_ATTACK_KIND, which must outlive the result. LS_BAD_DATA "PATH: .. found
 * .., expected ..": no such file, damaged, not one of ours. Local. */
ls_status ls_saved_result_open(const char *path, const char *kind, ls_saved_result **result);
void ls_saved_result_destroy(ls_saved_result **result);

#endif
