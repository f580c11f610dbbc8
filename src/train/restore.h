/* A checkpoint's model on all ranks, for the verbs that look at one. Collective; every failure is agreed. */
#ifndef LOCKSTEP_TRAIN_RESTORE_H
#define LOCKSTEP_TRAIN_RESTORE_H

#include "io/checkpoint.h"
#include "layers/layer.h"
#include "train/trainer.h"

typedef struct ls_restored {
    const char *path;
    ls_progress_mark mark;
    char *config_yaml;                          /* the checkpoint's */
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX]; /* which the configuration refers to */
    ls_config *config;                          /* with the overrides */
    ls_trainer *trainer;
    bool other_data; /* than the model was trained on */
} ls_restored;

/* Reads the checkpoint on rank 0 and sends it to all. `overrides` may change what
 * ls_options_check_look() lets the verb take.
 * LS_BAD_DATA: no good checkpoint. LS_NOT_FINITE names the tensor. */
ls_status ls_restore(ls_comm *comm, const char *verb, const char *path, const char *const *overrides,
                     int override_count, ls_restored *restored);
/* Safe twice. */
void ls_restored_destroy(ls_restored *restored);

#endif
