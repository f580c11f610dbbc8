/* Putting a run together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "train/device.h"
#include "train/device_step.h"
#include "train/memory.h"
#include "train/program.h"

/* One warning for all ranks, about the one with the fewest cores. Collective. */
static ls_status warn_about_cores(const ls_trainer *t) {
    int own = ls_available_cores(), cores[LS_MAX_SHARDS], least = 0;
    int64_t wanted = t->options.threads;
    if (wanted == 1) return LS_OK;
    LS_TRY(ls_comm_allgather_equal(t->comm, &own, sizeof own, cores));
    for (int r = 1; r < t->comm->size; r++)
        if (cores[r] < cores[least]) least = r;
    if (t->comm->rank == 0 && wanted > cores[least])
        ls_log(LS_LOG_WARNING,
               "threads=%lld, but rank %d may use %d core%s; mpirun binds ranks to cores unless told "
               "--bind-to none",
               (long long)wanted, least, cores[least], cores[least] == 1 ? "" : "s");
    return LS_OK;
}

/* Doubles that one cut moves at most: all partial sums of the network together bound it. */
static int64_t most_doubles(const ls_graph *graph) {
    int64_t most = 4;
    for (int i = 0; i < ls_graph_op_count(graph); i++)
        most += ls_graph_op(graph, i)->sum_length + ls_graph_op(graph, i)->grad_sum_length;
    return most;
}

static ls_status create_programs(ls_trainer *t) {
    ls_program *programs[] = {&t->training, &t->evaluating, &t->collecting};
    LS_TRY(ls_program_create(t, LS_TRAINING, t->options.batch, NULL, &t->training));
    LS_TRY(ls_program_create(t, LS_EVALUATING, t->options.eval_batch, NULL, &t->evaluating));
    if (ls_network_collects(t->network))
        LS_TRY(ls_program_create(t, LS_COLLECTING, t->options.batch, NULL, &t->collecting));
    LS_TRY(ls_gradient_prepare(t->gradient, t->training.plan, &t->training.shards, t->team,
                               most_doubles(t->training.graph)));
    for (int i = 0; i < 3; i++)
        if (programs[i]->graph) ls_graph_set_reducer(programs[i]->graph, ls_gradient_reducer(t->gradient));
    return LS_OK;
}

/* Ranks on processors that differ compute with what all of them have, or their bits would differ. */
static ls_status agree_on_instructions(ls_comm *comm, ls_precision precision, ls_instruction_set *set) {
    ls_instruction_set own = LS_PORTABLE, *all;
    const char *why;
    LS_TRY(ls_comm_agree(comm, precision == LS_PRECISION_BF16 ? ls_instruction_set_choose_bf16(&own, &why)
                                                              : ls_instruction_set_choose(&own)));
    LS_TRY(ls_comm_agree(comm, ls_calloc(&all, (size_t)comm->size, sizeof *all, "the instruction sets")));
    ls_status status = ls_comm_allgather_equal(comm, &own, sizeof own, all);
    *set = own;
    for (int r = 0; status == LS_OK && r < comm->size; r++)
        if (all[r] < *set) *set = all[r];
    free(all);
    return status;
}

/* Collective. */
static ls_status create_backend(ls_trainer *t) {
    ls_instruction_set set;
    const ls_precision precision = (ls_precision)t->options.precision;
    LS_TRY(agree_on_instructions(t->comm, precision, &set));
    LS_TRY(ls_backend_find_for(precision == LS_PRECISION_TF32 ? LS_PRECISION_FP32 : precision, set,
                               &t->backend));
    LS_TRY(ls_device_choose(t->comm, (ls_device_kind)t->options.device, precision,
                            t->backend->instruction_set, t->why_device, sizeof t->why_device, &t->gpu));
    if (!t->gpu) return ls_backend_find_for(precision, set, &t->backend);
    t->backend = t->gpu;
    t->lane.device = t->gpu->device;
    t->options.threads = 1; /* what a device does is begun by one thread */
    return LS_OK;
}

const ls_dataset *ls_trainer_placed(const ls_trainer *t, const ls_dataset *set) {
    return set == &t->data.test ? &t->test : &t->train;
}

static ls_status place(const ls_backend *backend, const ls_dataset *set, ls_dataset *placed) {
    const size_t pixels = (size_t)set->height * (size_t)set->width;
    *placed = *set;
    placed->images = placed->labels = NULL;
    LS_TRY(
        ls_backend_place(backend, set->images, (size_t)set->count * pixels, "the images", &placed->images));
    return ls_backend_place(backend, set->labels, (size_t)set->count, "the labels", &placed->labels);
}

static void unplace(const ls_backend *backend, const ls_dataset *set, const ls_dataset *placed) {
    if (placed->images) ls_backend_remove(backend, set->images, placed->images);
    if (placed->labels) ls_backend_remove(backend, set->labels, placed->labels);
}

static ls_status create_network(ls_trainer *t) {
    if (t->options.samples_per_epoch > t->data.training)
        return ls_fail(LS_USAGE,
                       "%s: samples_per_epoch: found %lld, expected at most the %lld training samples",
                       ls_config_key_position(t->config, "samples_per_epoch"),
                       (long long)t->options.samples_per_epoch, (long long)t->data.training);
    LS_TRY(ls_network_create(t->config, t->data.train.height, t->data.train.width, t->data.train.classes,
                             &t->network));
    return LS_OK;
}

/* Collective. */
static ls_status create_gradient(ls_trainer *t) {
    const ls_options *o = &t->options;
    const ls_gradient_options options = {.shards = (int)o->shards,
                                         .batch = o->batch,
                                         .moments = ls_optimizer_moments(o->optimizer),
                                         .window = o->window};
    return ls_gradient_create(t->comm, &t->network->parameters, t->backend, &options, &t->gradient);
}

static ls_status create_model(ls_trainer *t) {
    const ls_options *o = &t->options;
    LS_TRY(ls_network_initialise(t->network, (uint64_t)o->seed));
    LS_TRY(ls_state_create(&t->network->parameters, &t->state));
    LS_TRY(ls_optimizer_read(t->config, &t->optimizer));
    if (!t->optimizer.class->kernels(t->backend))
        return ls_fail(LS_USAGE, "optimizer %s has no CUDA kernels; device=cpu trains with it",
                       t->optimizer.class->choice.name);
    t->optimizer.l2_mean = o->l2_mean;
    t->optimizer.weight_decay = o->weight_decay;
    LS_TRY(ls_schedule_read(t->config, &t->schedule));
    t->schedule.lr = o->lr;
    t->schedule.decay_power = o->decay_power;
    t->schedule.warmup = o->warmup;
    return LS_OK;
}

static ls_status create_rest(ls_trainer *t) {
    LS_TRY(place(t->backend, &t->data.train, &t->train));
    LS_TRY(place(t->backend, &t->data.test, &t->test));
    LS_TRY(create_model(t));
    LS_TRY(ls_team_create((int)t->options.threads, &t->team));
    LS_TRY(create_programs(t));
    LS_TRY(ls_updater_create(t->comm->rank, &t->network->parameters, t->gradient, t->team,
                             t->options.check_interval > 0, &t->updater));
    LS_TRY(ls_device_step_create(t, &t->device_step));
    LS_TRY(
        ls_calloc(&t->flags, (size_t)t->training.shards.node_count * 2, sizeof *t->flags, "the step's sum"));
    LS_TRY(ls_calloc(&t->losses, (size_t)t->training.shards.node_count * 2, sizeof *t->losses,
                     "the step's sum"));
    LS_TRY(
        ls_calloc(&t->order, (size_t)ls_trainer_epoch_samples(t), sizeof *t->order, "the order of samples"));
    t->permutation_index = -1;
    return ls_calloc(&t->permutation, (size_t)t->data.training, sizeof *t->permutation,
                     "the order of samples");
}

/* The one key that is found wrong only with the data is named with its place. */
static ls_status load_data(ls_trainer *t) {
    char why[1024];
    const ls_options *o = &t->options;
    ls_status status = ls_data_load(t->comm, o->data, o->split, (uint64_t)o->seed, &t->data);
    if (status != LS_USAGE) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    return ls_fail(status, "%s: %s", ls_config_key_position(t->config, "split"), why);
}

/* From now on the parameters are as they should be. Collective. */
static ls_status watch(ls_trainer *t) {
    ls_updater_watch(t->updater);
    return ls_comm_agree(t->comm, t->device_step ? ls_device_step_begin(t->device_step) : LS_OK);
}

ls_status ls_trainer_create_on(ls_comm *comm, ls_config *config, ls_data *data, ls_trainer **out) {
    ls_trainer *t = NULL;
    *out = NULL;
    ls_status status = ls_comm_agree(comm, ls_calloc(&t, 1, sizeof *t, "the trainer"));
    if (status != LS_OK) {
        if (data) ls_data_destroy(data);
        free(t);
        return status;
    }
    t->comm = comm;
    t->config = config;
    if (data) t->data = *data;
    status = ls_comm_agree(comm, ls_config_settings(config, &t->options));
    if (status == LS_OK && !data) status = ls_memory_check(comm, config);
    if (status == LS_OK && !data) status = load_data(t);
    if (status == LS_OK) status = create_backend(t);
    if (status == LS_OK && t->gpu && !data) status = ls_memory_check_device(comm, config, t->gpu);
    if (status == LS_OK) status = ls_comm_agree(comm, create_network(t));
    if (status == LS_OK) status = create_gradient(t);
    if (status == LS_OK) status = ls_comm_agree(comm, create_rest(t));
    if (status == LS_OK) status = watch(t);
    if (status == LS_OK) status = warn_about_cores(t);
    if (status != LS_OK)
        ls_trainer_destroy(&t);
    else
        *out = t;
    return status;
}

ls_status ls_trainer_create(ls_comm *comm, ls_config *config, ls_trainer **out) {
    return ls_trainer_create_on(comm, config, NULL, out);
}

ls_status ls_trainer_resume(ls_trainer *t, const ls_progress_mark *mark, const ls_score *epoch_score) {
    t->comm->phase = "resuming";
    for (int i = 0; i < t->state.count; i++) {
        ls_record *record = &t->state.records[i];
        LS_TRY(ls_comm_broadcast(t->comm, record->data, ls_record_bytes(record), 0));
    }
    /* agreed, also since ranks may share parameters and moments, which one of them sets for all */
    LS_TRY(ls_comm_agree(t->comm, ls_state_import(&t->network->parameters, &t->state)));
    LS_TRY(watch(t));
    t->step = (int64_t)mark->step;
    t->comm->step = mark->step;
    t->epoch = (int64_t)mark->epoch;
    t->batch_in_epoch = (int64_t)mark->batch_in_epoch;
    t->epoch_score = *epoch_score;
    if (t->step > 0) /* that of the step before, whose epoch may have ended with it */
        t->batch_rate =
            ls_schedule_rate(&t->schedule, t->step - 1, t->batch_in_epoch > 0 ? t->epoch : t->epoch - 1);
    return LS_OK;
}

void ls_trainer_destroy(ls_trainer **out) {
    ls_trainer *t = *out;
    if (!t) return;
    free(t->order);
    free(t->permutation);
    free(t->flags);
    free(t->losses);
    ls_device_step_destroy(&t->device_step);
    ls_updater_destroy(&t->updater);
    ls_program_destroy(&t->training);
    ls_program_destroy(&t->evaluating);
    ls_program_destroy(&t->collecting);
    ls_state_destroy(&t->state);
    ls_team_destroy(&t->team);
    ls_network_destroy(&t->network);
    ls_optimizer_destroy(&t->optimizer);
    ls_schedule_destroy(&t->schedule);
    ls_gradient_destroy(&t->gradient);
    if (t->backend) {
        unplace(t->backend, &t->data.train, &t->train);
        unplace(t->backend, &t->data.test, &t->test);
    }
    ls_device_give_back(&t->gpu);
    ls_data_destroy(&t->data);
    ls_keys_free(&ls_option_keys, &t->options);
    free(t);
    *out = NULL;
}
