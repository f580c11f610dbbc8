#include "inspect/saved_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"

int64_t ls_record_count(const ls_record *record) {
    int64_t count = 1;
    for (int i = 0; i < record->dims; i++) count *= record->shape[i];
    return count;
}

double ls_record_value(const ls_record *record, int64_t index) {
    switch (record->type) {
    case LS_RECORD_F32: return (double)((const float *)record->data)[index];
    case LS_RECORD_F64: return ((const double *)record->data)[index];
    case LS_RECORD_I64: return (double)((const int64_t *)record->data)[index];
    case LS_RECORD_U64: return (double)((const uint64_t *)record->data)[index];
    }
    return 0;
}

/* What the command line would call a mistake of usage is here a fault of the file. */
static ls_status blame_file(ls_status status, const char *path) {
    char why[1024];
    if (status != LS_USAGE) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    return ls_fail(LS_BAD_DATA, "%s: its configuration cannot be used: %s", path, why);
}

/* Shapes come from text that anyone may have written: they are believed only where the file has room for
 * them. */
static ls_status check_size(const ls_saved_model *model, int moments) {
    const ls_parameters *p = &model->network->parameters;
    uint64_t size = ls_checkpoint_size(model->checkpoint), bytes = 0;
    uint64_t width = model->options.precision == LS_PRECISION_FP64 ? sizeof(double) : sizeof(float);
    bytes += (uint64_t)p->elements * (uint64_t)(1 + moments) * width;
    for (int i = 0; i < p->statistics_count; i++)
        bytes += 3 * (uint64_t)p->statistics[i].channels * sizeof(double);
    if (bytes <= size) return LS_OK;
    return ls_fail(LS_BAD_DATA,
                   "%s: found %" PRIu64 " bytes, expected at least the %" PRIu64 " of its tensors",
                   model->path, size, bytes);
}

static ls_status create_network(ls_saved_model *model) {
    const ls_progress_mark *mark = model->mark;
    const ls_options *o = &model->options;
    const ls_backend *backend;
    int moments;
    if (mark->height < 1 || mark->width < 1 || mark->classes < 1)
        return ls_fail(LS_BAD_DATA,
                       "%s: found images of %" PRIu64 " x %" PRIu64 " in %" PRIu64 " classes, expected some",
                       model->path, mark->height, mark->width, mark->classes);
    ls_network_layer_keys(model->layers);
    LS_TRY(ls_config_parse("config/yaml", model->yaml, strlen(model->yaml), &ls_option_keys, model->layers,
                           ls_layer_class_count, &model->config));
    LS_TRY(ls_config_settings(model->config, &model->options));
    LS_TRY(ls_network_create(model->config, (int)mark->height, (int)mark->width, (int)mark->classes,
                             &model->network));
    moments = ls_optimizer_moments(o->optimizer);
    LS_TRY(check_size(model, moments));
    LS_TRY(ls_backend_find(ls_precision_dtype((ls_precision)o->precision), &backend));
    return ls_parameters_allocate(&model->network->parameters, backend, moments, 1);
}

static ls_status read_state(ls_saved_model *model) {
    ls_state *state = &model->state;
    LS_TRY(ls_state_create(&model->network->parameters, state));
    for (int i = 0; i < state->count; i++) {
        const char *path = state->records[i].path;
        if (!ls_h5_text_ok(path, strlen(path)))
            return ls_fail(LS_BAD_DATA, "%s: a layer's name has control characters", model->path);
    }
    LS_TRY(ls_checkpoint_read_all(model->checkpoint, state->records, state->count));
    uint64_t found = ls_state_fingerprint(state, model->mark->step);
    if (found == model->mark->fingerprint) return LS_OK;
    return ls_fail(LS_BAD_DATA,
                   "%s: fingerprint of the tensors: found %016" PRIx64 ", expected the stored %016" PRIx64,
                   model->path, found, model->mark->fingerprint);
}

ls_status ls_saved_model_read(ls_checkpoint *checkpoint, ls_saved_model **out) {
    ls_saved_model *model;
    *out = NULL;
    ls_status status = ls_calloc(&model, 1, sizeof *model, "a saved model");
    if (status != LS_OK) {
        ls_checkpoint_close(&checkpoint);
        return status;
    }
    model->checkpoint = checkpoint;
    model->path = ls_checkpoint_path(checkpoint);
    model->yaml = ls_checkpoint_config(checkpoint);
    model->mark = ls_checkpoint_mark(checkpoint);
    status = blame_file(create_network(model), model->path);
    if (status == LS_OK) status = read_state(model);
    if (status != LS_OK)
        ls_saved_model_destroy(&model);
    else
        *out = model;
    return status;
}

ls_status ls_saved_model_open(const char *path, ls_saved_model **model) {
    ls_checkpoint *checkpoint;
    *model = NULL;
    LS_TRY(ls_checkpoint_open(path, &checkpoint));
    return ls_saved_model_read(checkpoint, model);
}

void ls_saved_model_destroy(ls_saved_model **out) {
    ls_saved_model *model = *out;
    if (!model) return;
    ls_state_destroy(&model->state);
    ls_network_destroy(&model->network);
    ls_keys_free(&ls_option_keys, &model->options);
    ls_config_destroy(&model->config);
    ls_checkpoint_close(&model->checkpoint);
    free(model);
    *out = NULL;
}
