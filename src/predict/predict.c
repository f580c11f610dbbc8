#include "predict/predict.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "inspect/saved_model.h"
#include "io/reader.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

enum { BATCH = 256 }; /* images that are computed at a time */

struct ls_model {
    ls_progress_mark mark;
    char *yaml;
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_options options;
    const ls_backend *backend;
    ls_network *network;
    ls_shards shards;
    ls_graph *graph;
    ls_plan *plan;
    const ls_op *loss;
    ls_team *team;
    uint32_t sample[BATCH];        /* 0, 1, .. */
    uint8_t labels[BATCH];         /* for the loss, which nobody looks at */
    const uint32_t *placed_sample; /* both in backend memory */
    const uint8_t *placed_labels;
    void *logits, *probabilities; /* [BATCH][classes], on the host */
};

ls_status ls_dataset_read(const char *folder, ls_dataset *training, ls_dataset *test) {
    ls_reader *reader = NULL;
    ls_dataset sets[LS_DATA_PARTS] = {0}, *wanted[LS_DATA_PARTS] = {training, test};
    ls_status status = ls_reader_open(folder, &reader);
    if (status == LS_OK) status = ls_reader_read_all(reader, &sets[LS_DATA_TRAIN], &sets[LS_DATA_TEST]);
    ls_reader_close(&reader);
    sets[LS_DATA_TEST].classes = sets[LS_DATA_TRAIN].classes;
    for (int part = 0; part < LS_DATA_PARTS; part++)
        if (wanted[part])
            *wanted[part] = sets[part];
        else
            ls_dataset_destroy(&sets[part]);
    return status;
}

/* --- loading -------------------------------------------------------------------------------------------- */

static ls_status copy_arenas(const ls_parameters *to, const ls_arenas *target, void *client) {
    const ls_arenas *source = client;
    memcpy(target->value, source->value, (size_t)to->total * ls_dtype_size(to->backend->dtype));
    if (target->statistics)
        memcpy(target->statistics, source->statistics, ls_parameters_statistics(to) * sizeof(double));
    return LS_OK;
}

static ls_status copy_into(const ls_parameters *from, const ls_arenas *source, void *to) {
    (void)from;
    return ls_parameters_use(to, true, copy_arenas, (void *)source);
}

/* The network that the saved one is, without moments, for the kernels that compute here. */
static ls_status copy_network(const ls_saved_model *saved, ls_model *m) {
    ls_instruction_set set;
    const char *why;
    const ls_parameters *from = &saved->network->parameters;
    m->mark = *saved->mark;
    LS_TRY(ls_strdup(&m->yaml, saved->yaml));
    ls_network_layer_keys(m->layers);
    LS_TRY(ls_config_parse(saved->path, m->yaml, strlen(m->yaml), &ls_option_keys, m->layers,
                           ls_layer_class_count, &m->config));
    LS_TRY(ls_config_settings(m->config, &m->options));
    const ls_precision precision = (ls_precision)m->options.precision;
    LS_TRY(precision == LS_PRECISION_BF16 ? ls_instruction_set_choose_bf16(&set, &why)
                                          : ls_instruction_set_choose(&set));
    LS_TRY(ls_backend_find_for(precision, set, &m->backend));
    LS_TRY(ls_network_create(m->config, (int)m->mark.height, (int)m->mark.width, (int)m->mark.classes,
                             &m->network));
    ls_parameters *to = &m->network->parameters;
    LS_TRY(ls_parameters_allocate(to, m->backend, 0, 1));
    return ls_parameters_use(from, false, copy_into, to);
}

/* As a run plans its evaluations (train/program.c), on one rank. */
static ls_status plan(ls_model *m, int threads) {
    const ls_options *o = &m->options;
    const size_t bytes = BATCH * (size_t)m->mark.classes * ls_dtype_size(m->backend->dtype);
    for (int i = 0; i < BATCH; i++) m->sample[i] = (uint32_t)i;
    LS_TRY(ls_backend_place(m->backend, m->sample, sizeof m->sample, "the samples", &m->placed_sample));
    LS_TRY(ls_backend_place(m->backend, m->labels, sizeof m->labels, "the labels", &m->placed_labels));
    LS_TRY(ls_calloc(&m->logits, 1, bytes, "the answers of a batch"));
    LS_TRY(ls_calloc(&m->probabilities, 1, bytes, "the answers of a batch"));
    LS_TRY(ls_shards_create(&m->shards, (int)o->shards, 0, 1, BATCH));
    LS_TRY(ls_graph_create(LS_RECORD, LS_EVALUATING, m->backend, &m->network->parameters, &m->shards, NULL,
                           &ls_reducer_local, &m->graph));
    ls_tensor *x =
        ls_input(m->graph, (int)m->mark.height, (int)m->mark.width, o->pixels == LS_PIXELS_UNIT, NULL);
    x = ls_network_apply(m->network, m->graph, x);
    x = ls_softmax_cross_entropy(m->graph, x, o->loss_clip, false);
    LS_TRY(ls_graph_status(m->graph));
    m->loss = x->producer;
    LS_TRY(ls_plan_create(m->graph, o->fuse, threads, &m->plan));
    return ls_team_create(threads, &m->team);
}

ls_status ls_model_load(const char *path, int threads, ls_model **model) {
    ls_saved_model *saved = NULL;
    ls_model *m = NULL;
    *model = NULL;
    if (threads < 1 || threads > LS_MAX_SHARDS)
        return ls_fail(LS_USAGE, "threads: found %d, expected 1 to %d", threads, LS_MAX_SHARDS);
    LS_TRY(ls_saved_model_open(path, &saved));
    ls_status status = ls_state_import(&saved->network->parameters, &saved->state);
    if (status == LS_OK) status = ls_calloc(&m, 1, sizeof *m, "a model");
    if (status == LS_OK) status = copy_network(saved, m);
    ls_saved_model_destroy(&saved);
    if (status == LS_OK) status = plan(m, threads);
    if (status == LS_OK)
        *model = m;
    else
        ls_model_destroy(&m);
    return status;
}

void ls_model_destroy(ls_model **model) {
    ls_model *m = *model;
    if (!m) return;
    if (m->placed_sample) ls_backend_remove(m->backend, m->sample, m->placed_sample);
    if (m->placed_labels) ls_backend_remove(m->backend, m->labels, m->placed_labels);
    ls_team_destroy(&m->team);
    ls_plan_destroy(&m->plan);
    ls_graph_destroy(&m->graph);
    ls_network_destroy(&m->network);
    ls_keys_free(&ls_option_keys, &m->options);
    ls_config_destroy(&m->config);
    free(m->yaml);
    free(m->logits);
    free(m->probabilities);
    free(m);
    *model = NULL;
}

ls_model_facts ls_model_describe(const ls_model *m) {
    return (ls_model_facts){.height = (int)m->mark.height,
                            .width = (int)m->mark.width,
                            .classes = (int)m->mark.classes,
                            .parameters = m->network->parameters.elements,
                            .step = m->mark.step,
                            .epoch = m->mark.epoch,
                            .fingerprint = m->mark.fingerprint,
                            .config = m->yaml,
                            .computes_by = ls_instruction_set_name(m->backend->instruction_set)};
}

/* --- classifying ---------------------------------------------------------------------------------------- */

static double number(const ls_model *m, const void *from, int64_t at) {
    return m->backend->dtype == LS_FP64 ? ((const double *)from)[at] : (double)((const float *)from)[at];
}

/* The answer of one row of the batch; false: it is not finite. */
static bool take(const ls_model *m, int64_t row, int *class, double *probabilities) {
    const int64_t classes = (int64_t)m->mark.classes, first = row * classes;
    int64_t largest = first;
    for (int64_t i = first; i < first + classes; i++) {
        const double p = number(m, m->probabilities, i);
        if (!isfinite(p)) return false;
        if (number(m, m->logits, i) > number(m, m->logits, largest)) largest = i;
        if (probabilities) probabilities[i - first] = p;
    }
    if (class) *class = (int)(largest - first);
    return true;
}

static ls_status run_batch(ls_model *m, const uint8_t *images, int64_t count) {
    const size_t row = (size_t)m->mark.classes * ls_dtype_size(m->backend->dtype);
    const size_t bytes = (size_t)count * (size_t)(m->mark.height * m->mark.width);
    const uint8_t *placed = NULL;
    ls_status status = ls_backend_place(m->backend, images, bytes, "the images", &placed);
    /* the input layer only reads them */
    ls_dataset set = {.images = (uint8_t *)(uintptr_t)placed,
                      .labels = (uint8_t *)(uintptr_t)m->placed_labels,
                      .count = count,
                      .height = (int)m->mark.height,
                      .width = (int)m->mark.width,
                      .classes = (int)m->mark.classes};
    ls_run run = {.shards = &m->shards, .data = &set, .sample = m->placed_sample};
    ls_shards_set_batch(&m->shards, count);
    if (status == LS_OK) status = ls_plan_run(m->plan, &run, m->team);
    if (status == LS_OK)
        status = m->backend->download(m->backend, m->logits, m->loss->in[0]->value, (size_t)count * row);
    if (status == LS_OK)
        status = m->backend->download(m->backend, m->probabilities, ls_softmax_probabilities(m->loss),
                                      (size_t)count * row);
    ls_backend_remove(m->backend, images, placed);
    return status;
}

ls_status ls_model_classify(ls_model *m, const uint8_t *images, int64_t count, int *classes,
                            double *probabilities) {
    const int64_t pixels = (int64_t)(m->mark.height * m->mark.width), width = (int64_t)m->mark.classes;
    if (count < 0)
        return ls_fail(LS_USAGE, "images to classify: found %" PRId64 ", expected 0 or more", count);
    for (int64_t begin = 0; begin < count; begin += BATCH) {
        const int64_t rows = count - begin < BATCH ? count - begin : BATCH;
        LS_TRY(run_batch(m, images + begin * pixels, rows));
        for (int64_t row = 0; row < rows; row++) {
            const int64_t i = begin + row;
            if (!take(m, row, classes ? classes + i : NULL, probabilities ? probabilities + i * width : NULL))
                return ls_fail(LS_NOT_FINITE,
                               "image %" PRId64 ": the probabilities that the model gives it are not finite",
                               i);
        }
    }
    return LS_OK;
}
