#include "inspect/checkpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/inspect.h"
#include "io/scratch.h"
#include "layers/layer.h"
#include "model/network.h"
#include "train/options.h"

const char made_config[] =
    "seed: 1\nnetwork: [flatten, batchnorm, {dense: {units: 5}}, relu, {dense: {units: 2, name: last}}]\n";

static void must(ls_status status) {
    if (status != LS_OK) fail_msg("%s", ls_error_message());
}

void make_model(made_model *model, const char *yaml) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    const ls_backend *backend;
    memset(model, 0, sizeof *model);
    snprintf(model->yaml, sizeof model->yaml, "%s", yaml);
    ls_network_layer_keys(layers);
    must(ls_config_parse("made", yaml, strlen(yaml), &ls_option_keys, layers, ls_layer_class_count, &config));
    must(ls_network_create(config, 3, 4, 2, &model->network));
    ls_config_destroy(&config);
    must(ls_backend_find(LS_FP32, &backend));
    must(ls_parameters_allocate(&model->network->parameters, backend, 2, 1));
    must(ls_network_initialise(model->network, 1));
    must(ls_state_create(&model->network->parameters, &model->state));
    ls_state_export(&model->network->parameters, &model->state);
    model->mark =
        (ls_progress_mark){.step = 7, .seed = 1, .data_digest = 9, .height = 3, .width = 4, .classes = 2};
}

void free_model(made_model *model) {
    ls_state_destroy(&model->state);
    ls_network_destroy(&model->network);
}

ls_record *made_record(made_model *model, const char *path) {
    for (int i = 0; i < model->state.count; i++)
        if (strcmp(model->state.records[i].path, path) == 0) return &model->state.records[i];
    fail_msg("no record %s", path);
    return NULL;
}

void write_model(made_model *model) {
    model->mark.fingerprint = ls_state_fingerprint(&model->state, model->mark.step);
    must(ls_checkpoint_write(scratch_folder(), &model->mark, model->yaml, model->state.records,
                             model->state.count, NULL));
}

/* ---- what the verbs print ---- */

static char text[1 << 18];

static FILE *collect(void) {
    FILE *out = tmpfile();
    assert_non_null(out);
    return out;
}

static void keep(FILE *out) {
    rewind(out);
    size_t size = fread(text, 1, sizeof text - 1, out);
    text[size] = '\0';
    assert_true(size < sizeof text - 1);
    assert_int_equal(fclose(out), 0);
}

ls_status diff_of(const char *a, const char *b) {
    FILE *out = collect();
    ls_status status = ls_diff(a, b, out);
    keep(out);
    return status;
}

ls_status inspect_of(const char *path, int json) {
    FILE *out = collect();
    ls_status status = ls_inspect(path, json, out);
    keep(out);
    return status;
}

const char *printed(void) {
    return text;
}

void assert_printed(const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" lacks \"%s\"", text, part);
}

void assert_not_printed(const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" has \"%s\"", text, part);
}

void assert_message(const char *part) {
    if (!strstr(ls_error_message(), part)) fail_msg("\"%s\" lacks \"%s\"", ls_error_message(), part);
}
