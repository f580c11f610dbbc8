/* `lockstep attack`: the fast gradient sign method. Of each batch, the gradient of the loss with respect to
 * the images is computed once, in evaluation mode; then the batch is evaluated again for each epsilon with
 * its images moved along the signs. Signs stay on the rank whose samples they belong to; only those of the
 * examples travel. */
#include "train/attack.h"

#include <stdlib.h>
#include <string.h>

#include "train/program.h"
#include "train/result_file.h"
#include "train/signals.h"

typedef struct attack {
    ls_trainer *trainer;
    ls_program gradient, perturbed;
    ls_perturbation perturbation;
    int64_t pixels;
    uint32_t *samples;    /* [result->samples] */
    ls_outcome *outcomes; /* [eval_batch] of the batch at hand */
    ls_attack_result *result;
} attack;

static ls_status create_buffers(attack *a, ls_attack_result *result) {
    const ls_trainer *t = a->trainer;
    int64_t classes = ls_tensor_channels(t->evaluating.loss->in[0]), wanted = result->options.examples;
    size_t rows = (size_t)ls_graph_rows(a->gradient.graph),
           count = (size_t)(wanted < classes ? wanted : classes);
    LS_TRY(ls_calloc(&a->samples, (size_t)result->samples, sizeof *a->samples, "the samples to attack"));
    LS_TRY(ls_calloc(&a->outcomes, (size_t)t->options.eval_batch, sizeof *a->outcomes,
                     "the results of a batch"));
    LS_TRY(t->backend->allocate(t->backend, &a->perturbation.sign, rows * (size_t)a->pixels,
                                "the signs of a gradient"));
    LS_TRY(ls_calloc(&result->examples, count, sizeof *result->examples, "examples"));
    for (; result->example_count < (int64_t)count; result->example_count++) {
        ls_attack_example *example = &result->examples[result->example_count];
        example->sample = -1;
        LS_TRY(ls_calloc(&example->sign, (size_t)a->pixels, 1, "an example"));
    }
    for (int64_t i = 0; i < result->samples; i++) a->samples[i] = (uint32_t)i;
    return LS_OK;
}

static ls_status create(attack *a, ls_attack_result *result) {
    ls_trainer *t = result->restored->trainer;
    *a =
        (attack){.trainer = t, .result = result, .pixels = (int64_t)t->data.test.height * t->data.test.width};
    if (result->options.samples > t->data.test.count)
        return ls_fail(LS_USAGE,
                       "command line: samples: found %lld, expected at most the %lld of the test set",
                       (long long)result->options.samples, (long long)t->data.test.count);
    result->samples = result->options.samples > 0 ? result->options.samples : t->data.test.count;
    LS_TRY(ls_program_create(t, LS_ATTACKING, t->options.eval_batch, NULL, &a->gradient));
    LS_TRY(ls_program_create(t, LS_EVALUATING, t->options.eval_batch, &a->perturbation, &a->perturbed));
    return create_buffers(a, result);
}

static void destroy(attack *a) {
    ls_program_destroy(&a->gradient);
    ls_program_destroy(&a->perturbed);
    a->trainer->backend->release(a->trainer->backend, a->perturbation.sign);
    free(a->samples);
    free(a->outcomes);
}

/* --- examples ------------------------------------------------------------------------------------------- */

/* The rank that has sample i of the batch at hand, and *row: as which of its rows. */
static int owner_of(const attack *a, int64_t i, int64_t *row) {
    const ls_shards *shards = &a->gradient.shards;
    int rank = 0;
    for (; rank + 1 < a->trainer->comm->size; rank++) {
        ls_shards theirs;
        ls_shards_create(&theirs, shards->total, rank, a->trainer->comm->size, shards->batch);
        *row = i - theirs.offset;
        if (*row < ls_shards_rows(&theirs)) return rank;
    }
    ls_shards last;
    ls_shards_create(&last, shards->total, rank, a->trainer->comm->size, shards->batch);
    *row = i - last.offset;
    return rank;
}

/* The example that sample i of the batch, recognised by the model, becomes; NULL: its class has one, or wants
 * none. */
static ls_attack_example *new_example(const attack *a, int64_t begin, int64_t i) {
    int64_t class = a->trainer->data.test.labels[a->samples[begin + i]];
    if (a->outcomes[i].predicted != class || class >= a->result->example_count) return NULL;
    ls_attack_example *example = &a->result->examples[class];
    return example->sample < 0 ? example : NULL;
}

/* Looks for examples in the batch whose outcomes are at hand; *found: there are new ones. */
static ls_status find_examples(attack *a, int64_t begin, int64_t count, bool *found) {
    const ls_backend *backend = a->trainer->backend;
    ls_comm *comm = a->trainer->comm;
    *found = false;
    for (int64_t i = 0; i < count; i++) {
        ls_attack_example *example = new_example(a, begin, i);
        int64_t row;
        if (!example) continue;
        *found = true;
        example->sample = a->samples[begin + i];
        int owner = owner_of(a, i, &row);
        ls_status status = LS_OK;
        if (comm->rank == owner)
            status = backend->download(backend, example->sign, a->perturbation.sign + row * a->pixels,
                                       (size_t)a->pixels);
        LS_TRY(ls_comm_agree(comm, status));
        LS_TRY(ls_comm_broadcast(comm, example->sign, (size_t)a->pixels, owner));
    }
    return LS_OK;
}

/* What the batch, perturbed by the epsilon of that number, was taken for. */
static void note_examples(attack *a, int epsilon, int64_t begin, int64_t count) {
    for (int64_t k = 0; k < a->result->example_count; k++) {
        ls_attack_example *example = &a->result->examples[k];
        if (example->sample < begin || example->sample >= begin + count) continue;
        example->predicted[epsilon] = a->outcomes[example->sample - begin].predicted;
        example->probability[epsilon] = a->outcomes[example->sample - begin].probability;
    }
}

/* --- the attack ----------------------------------------------------------------------------------------- */

static ls_status find_signs(attack *a, int64_t begin, int64_t count) {
    ls_trainer *t = a->trainer;
    ls_score unused = {0};
    LS_TRY(ls_run_batch(t, &a->gradient, &t->data.test, a->samples, begin, count, &unused));
    ls_input_kernels_for(t->backend)
        ->signs(ls_graph_op(a->gradient.graph, 0)->out->grad, ls_shards_rows(&a->gradient.shards) * a->pixels,
                a->perturbation.sign, &t->lane);
    return ls_gather_outcomes(t, &a->gradient, a->outcomes);
}

static ls_status attack_batch(attack *a, int64_t begin, int64_t count) {
    const ls_attack_options *options = &a->result->options;
    ls_trainer *t = a->trainer;
    bool found;
    LS_TRY(find_signs(a, begin, count));
    LS_TRY(find_examples(a, begin, count, &found));
    for (int e = 0; e < options->count; e++) {
        a->perturbation.epsilon = options->epsilon[e];
        LS_TRY(ls_run_batch(t, &a->perturbed, &t->data.test, a->samples, begin, count, &a->result->score[e]));
        if (!found) continue;
        LS_TRY(ls_gather_outcomes(t, &a->perturbed, a->outcomes));
        note_examples(a, e, begin, count);
    }
    return LS_OK;
}

static ls_status run(ls_attack_result *result) {
    attack a;
    ls_comm *comm = result->restored->trainer->comm;
    int64_t batch = result->restored->trainer->options.eval_batch;
    ls_status status = ls_comm_agree(comm, create(&a, result));
    comm->phase = "attack";
    for (int64_t begin = 0; begin < result->samples && status == LS_OK; begin += batch) {
        int64_t left = result->samples - begin;
        status = attack_batch(&a, begin, left < batch ? left : batch);
    }
    destroy(&a);
    return status;
}

static ls_status attack_restored(const ls_restored *restored, const ls_attack_options *options,
                                 const ls_look *look) {
    ls_comm *comm = restored->trainer->comm;
    ls_attack_result result = {.restored = restored, .options = *options};
    ls_status status = run(&result);
    if (status == LS_OK && comm->rank == 0)
        (look->json ? ls_attack_print_json : ls_attack_print_text)(&result);
    if (status == LS_OK && look->output.path)
        status =
            ls_comm_agree(comm, comm->rank == 0 ? ls_attack_write_file(&result, look->output.path) : LS_OK);
    for (int64_t i = 0; i < result.example_count; i++) free(result.examples[i].sign);
    free(result.examples);
    return status;
}

ls_status ls_attack(ls_comm *comm, const ls_look *look) {
    ls_attack_options options;
    ls_restored restored;
    const char **rest;
    int count;
    LS_TRY(ls_comm_agree(comm, ls_signals_install()));
    LS_TRY(ls_comm_agree(comm,
                         ls_calloc(&rest, (size_t)look->override_count, sizeof *rest, "the command line")));
    ls_status status = ls_comm_agree(comm, ls_attack_options_read(look, &options, rest, &count));
    if (status == LS_OK)
        status =
            ls_comm_agree(comm, comm->rank == 0 ? ls_output_check(&look->output, LS_ATTACK_KIND) : LS_OK);
    if (status == LS_OK) status = ls_restore(comm, "attack", look->checkpoint, rest, count, &restored);
    if (status == LS_OK) {
        status = attack_restored(&restored, &options, look);
        ls_restored_destroy(&restored);
    }
    free(rest);
    return status;
}
