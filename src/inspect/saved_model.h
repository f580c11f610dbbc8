/* A checkpoint as a model: its configuration says which tensors there are, and the fingerprint that they are
 * what was saved. */
#ifndef LOCKSTEP_INSPECT_SAVED_MODEL_H
#define LOCKSTEP_INSPECT_SAVED_MODEL_H

#include "io/checkpoint.h"
#include "layers/layer.h"
#include "model/network.h"
#include "model/state.h"
#include "train/options.h"

typedef struct ls_saved_model {
    ls_checkpoint *checkpoint;
    const char *path, *yaml; /* the checkpoint's */
    const ls_progress_mark *mark;
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_options options;
    ls_network *network;
    ls_state state; /* read, and its fingerprint compared with the mark's */
} ls_saved_model;

/* Reads everything of an open checkpoint, which then belongs to the model, on failure too. LS_BAD_DATA: the
 * configuration makes no network, a record is not as it says, or the fingerprint does not match. */
ls_status ls_saved_model_read(ls_checkpoint *checkpoint, ls_saved_model **model);
ls_status ls_saved_model_open(const char *path, ls_saved_model **model);
void ls_saved_model_destroy(ls_saved_model **model);

/* Numbers of a record, and one of them by its position in PyTorch's order. */
int64_t ls_record_count(const ls_record *record);
double ls_record_value(const ls_record *record, int64_t index);

#endif
