/* Trains some steps and writes down all that another framework needs to take the same steps:
 *
 *     dump_step CONFIG OUT.h5 STEPS [KEY=VALUE ...]
 *
 *   config/yaml                       the resolved configuration
 *   step1/images [n, h, w], labels    of the batch, as they stand in the data set
 *   step1/rate, loss, correct         learning rate, mean loss, correct answers
 *   step1/logits [n, classes]         what the softmax is given
 *   step1/relu/0, 1, .. [n, ..]       what each relu gives, in the order of the network
 *   step1/gradient/NAME               of the loss, without l2_mean and weight_decay
 *   step1/before/.., step1/after/..   the state, as in a checkpoint
 *
 * Logits come from an eager run of the same batch, since a plan lets later tensors overwrite them; its
 * gradients must be those of the planned step, to the bit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"
#include "layers/elementwise.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "train/trainer.h"

typedef struct dump {
    ls_trainer *trainer;
    ls_h5_file *file;
    long step; /* 1, 2, .. */
} dump;

static const ls_parameters *parameters_of(const dump *d) {
    return &d->trainer->network->parameters;
}

static ls_record_type real_type(const dump *d) {
    return d->trainer->backend->dtype == LS_FP64 ? LS_RECORD_F64 : LS_RECORD_F32;
}

/* Writes one array as step<n>/<group><name>. */
static ls_status write_array(const dump *d, const char *group, const char *name, ls_record array) {
    char path[512];
    snprintf(path, sizeof path, "step%ld/%s%s", d->step, group, name);
    array.path = path;
    return ls_h5_write_record(d->file, &array);
}

static ls_status write_state(const dump *d, const char *group) {
    ls_state *state = &d->trainer->state;
    ls_state_export(parameters_of(d), state);
    for (int i = 0; i < state->count; i++)
        LS_TRY(write_array(d, group, state->records[i].path, state->records[i]));
    return LS_OK;
}

/* --- the batch ------------------------------------------------------------------------------------- */

static int64_t batch_size(const ls_trainer *t) {
    int64_t left = t->data.training - t->batch_in_epoch * t->options.batch;
    return left < t->options.batch ? left : t->options.batch;
}

static ls_status write_batch(const dump *d, const uint32_t *samples, int64_t count) {
    const ls_dataset *set = &d->trainer->data.train;
    int64_t pixels = (int64_t)set->height * set->width, *labels = NULL;
    double *images = NULL;
    ls_status status = ls_calloc(&images, (size_t)(count * pixels), sizeof *images, "the batch's images");
    if (status == LS_OK) status = ls_calloc(&labels, (size_t)count, sizeof *labels, "the batch's labels");
    if (status == LS_OK) {
        for (int64_t i = 0; i < count; i++) {
            labels[i] = set->labels[samples[i]];
            for (int64_t k = 0; k < pixels; k++)
                images[i * pixels + k] = set->images[samples[i] * pixels + k];
        }
        status = write_array(
            d, "", "images",
            (ls_record){
                .type = LS_RECORD_F64, .dims = 3, .shape = {count, set->height, set->width}, .data = images});
    }
    if (status == LS_OK)
        status = write_array(d, "", "labels",
                             (ls_record){.type = LS_RECORD_I64, .dims = 1, .shape = {count}, .data = labels});
    free(images);
    free(labels);
    return status;
}

/* --- gradients ------------------------------------------------------------------------------------- */

/* The gradient arena; alone, a rank has one node, and all gradients lie as the parameters do. */
static size_t gradient_bytes(const dump *d) {
    const ls_parameters *p = parameters_of(d);
    return (size_t)p->total * ls_dtype_size(p->backend->dtype);
}

static ls_status write_gradients(const dump *d) {
    const ls_parameters *p = parameters_of(d);
    for (int i = 0; i < p->count; i++) {
        const ls_parameter *q = &p->list[i];
        ls_record record = {.type = real_type(d), .dims = q->dims};
        memcpy(record.shape, q->shape, (size_t)q->dims * sizeof *q->shape);
        LS_TRY(ls_calloc(&record.data, (size_t)q->count, ls_dtype_size(p->backend->dtype), "a gradient"));
        ls_parameter_export(p, q, p->gradient, record.data);
        ls_status status = write_array(d, "gradient/", q->name, record);
        free(record.data);
        LS_TRY(status);
    }
    return LS_OK;
}

static ls_status write_relus(const dump *d, ls_graph *graph) {
    int count = 0;
    for (int i = 0; i < ls_graph_op_count(graph); i++) {
        const ls_op *op = ls_graph_op(graph, i);
        char name[16];
        if (op->act.class != &ls_relu_activation) continue;
        if (op->out->dims > 3) return ls_fail(LS_USAGE, "relu of %d dimensions", op->out->dims);
        ls_record record = {.type = real_type(d), .dims = op->out->dims + 1, .data = op->out->value};
        record.shape[0] = ls_graph_shards(graph)->batch;
        memcpy(record.shape + 1, op->out->shape, (size_t)op->out->dims * sizeof *record.shape);
        snprintf(name, sizeof name, "%d", count++);
        LS_TRY(write_array(d, "relu/", name, record));
    }
    return LS_OK;
}

static ls_status run_eagerly(const dump *d, ls_graph *graph) {
    const ls_trainer *t = d->trainer;
    const ls_options *o = &t->options;
    ls_tensor *x =
        ls_input(graph, t->data.train.height, t->data.train.width, o->pixels == LS_PIXELS_UNIT, NULL);
    ls_tensor *logits = ls_network_apply(t->network, graph, x);
    ls_tensor *loss =
        ls_softmax_cross_entropy(graph, logits, o->loss_clip, o->clip_gradient == LS_CLIP_DAMPED);
    LS_TRY(ls_graph_status(graph));
    LS_TRY(ls_backward(loss));
    LS_TRY(write_relus(d, graph));
    return write_array(d, "", "logits",
                       (ls_record){.type = real_type(d),
                                   .dims = 2,
                                   .shape = {ls_graph_shards(graph)->batch, ls_tensor_channels(logits)},
                                   .data = logits->value});
}

/* Between the statistics and memory of their size. */
static void copy_statistics(ls_parameters *p, double *kept, bool restore) {
    for (int i = 0; i < p->statistics_count; i++) {
        ls_statistics *s = &p->statistics[i];
        size_t length = (size_t)(1 + 3 * s->channels);
        memcpy(restore ? s->values : kept, restore ? kept : s->values, length * sizeof *kept);
        kept += length;
    }
}

/* Logits of the next batch, and its gradients into the arena. It counts as no batch of the run: the
 * statistics are put back. */
static ls_status eager_pass(const dump *d, const uint32_t *samples, int64_t count) {
    ls_trainer *t = d->trainer;
    ls_parameters *p = &t->network->parameters;
    ls_graph *graph = NULL;
    ls_shards shards;
    double *kept;
    size_t length = 0;
    for (int i = 0; i < p->statistics_count; i++) length += (size_t)(1 + 3 * p->statistics[i].channels);
    LS_TRY(ls_shards_create(&shards, (int)t->options.shards, 0, 1, count));
    LS_TRY(ls_calloc(&kept, length, sizeof *kept, "the statistics"));
    ls_run run = {.shards = &shards,
                  .data = &t->data.train,
                  .sample = samples,
                  .seed = (uint64_t)t->options.seed,
                  .epoch = (uint32_t)t->epoch,
                  .step = (uint32_t)t->step};
    copy_statistics(p, kept, false);
    ls_status status =
        ls_graph_create(LS_EAGER, LS_TRAINING, t->backend, p, &shards, &run, &ls_reducer_local, &graph);
    if (status == LS_OK) status = run_eagerly(d, graph);
    copy_statistics(p, kept, true);
    ls_graph_destroy(&graph);
    free(kept);
    return status;
}

/* --- a step ---------------------------------------------------------------------------------------- */

static ls_status check_configuration(const ls_trainer *t) {
    if (t->options.augment > 0)
        return ls_fail(LS_USAGE, "augment=%g: another framework would not draw the same numbers",
                       t->options.augment);
    for (int i = 0; i < ls_graph_op_count(t->training.graph); i++) {
        const ls_op *op = ls_graph_op(t->training.graph, i);
        if (strcmp(op->class->name, "dropout") == 0 && op->mask.scale > 1)
            return ls_fail(LS_USAGE,
                           "dropout: another framework would not draw the same numbers; set its rate to 0");
    }
    return LS_OK;
}

static ls_status train_one(dump *d, const void *eager, int64_t count) {
    ls_trainer *t = d->trainer;
    LS_TRY(ls_train_step(t));
    if (memcmp(eager, parameters_of(d)->gradient, gradient_bytes(d)) != 0)
        return ls_fail(LS_DIFFERENT, "step %ld: the gradients of the eager and the planned run differ",
                       d->step);
    double loss = t->batch_score.loss / (double)count;
    LS_TRY(write_array(d, "", "loss", (ls_record){.type = LS_RECORD_F64, .data = &loss}));
    LS_TRY(
        write_array(d, "", "correct", (ls_record){.type = LS_RECORD_F64, .data = &t->batch_score.correct}));
    LS_TRY(write_array(d, "", "rate", (ls_record){.type = LS_RECORD_F64, .data = &t->batch_rate}));
    LS_TRY(write_gradients(d));
    return write_state(d, "after/");
}

static ls_status dump_one(dump *d) {
    ls_trainer *t = d->trainer;
    int64_t count = batch_size(t);
    void *eager;
    if (t->batch_in_epoch == 0) ls_trainer_order_epoch(t);
    const uint32_t *samples = t->order + t->batch_in_epoch * t->options.batch;
    LS_TRY(write_batch(d, samples, count));
    LS_TRY(write_state(d, "before/"));
    LS_TRY(eager_pass(d, samples, count));
    LS_TRY(ls_calloc(&eager, gradient_bytes(d), 1, "the gradients"));
    memcpy(eager, parameters_of(d)->gradient, gradient_bytes(d));
    ls_status status = train_one(d, eager, count);
    free(eager);
    return status;
}

/* --- the run --------------------------------------------------------------------------------------- */

static ls_status dump_all(ls_trainer *t, ls_config *config, const char *path, long steps) {
    dump d = {.trainer = t};
    char *yaml = NULL;
    LS_TRY(check_configuration(t));
    ls_status status = ls_h5_create(path, &d.file);
    if (status == LS_OK) status = ls_config_resolve(config, &yaml);
    if (status == LS_OK) status = ls_h5_write_text(d.file, "config/yaml", yaml);
    for (d.step = 1; d.step <= steps && status == LS_OK; d.step++) status = dump_one(&d);
    if (status == LS_OK) status = ls_h5_commit(d.file, "steps", 1);
    ls_h5_discard(&d.file);
    free(yaml);
    return status;
}

static ls_status run(int argc, char **argv, const ls_layer_keys *layers, ls_comm **comm, ls_config **config,
                     ls_trainer **trainer) {
    LS_TRY(ls_config_load(argv[1], (const char *const *)argv + 4, argc - 4, &ls_option_keys, layers,
                          ls_layer_class_count, config));
    LS_TRY(ls_comm_create("self", comm));
    LS_TRY(ls_trainer_create(*comm, *config, trainer));
    return dump_all(*trainer, *config, argv[2], strtol(argv[3], NULL, 10));
}

int main(int argc, char **argv) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_comm *comm = NULL;
    ls_config *config = NULL;
    ls_trainer *trainer = NULL;
    if (argc < 4) {
        fprintf(stderr, "usage: dump_step CONFIG OUT.h5 STEPS [KEY=VALUE ...]\n");
        return LS_USAGE;
    }
    ls_network_layer_keys(layers);
    ls_status status = run(argc, argv, layers, &comm, &config, &trainer);
    if (status != LS_OK) fprintf(stderr, "dump_step: %s\n", ls_error_message());
    ls_trainer_destroy(&trainer);
    ls_config_destroy(&config);
    ls_comm_destroy(&comm);
    return (int)status;
}
