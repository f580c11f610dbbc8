/* `lockstep eval`: what a checkpoint's model makes of the data. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint.h"
#include "layers/layer.h"
#include "model/network.h"
#include "train/train.h"
#include "train/trainer.h"

/* Rank 0 opens the file and sends the text of its configuration, which every rank parses for itself. */
static ls_status send_config_text(ls_comm *comm, const ls_checkpoint *checkpoint, char **text) {
    uint64_t size = checkpoint ? strlen(ls_checkpoint_config(checkpoint)) : 0;
    LS_TRY(ls_comm_broadcast(comm, &size, sizeof size, 0));
    LS_TRY(ls_comm_agree(comm, ls_calloc(text, size + 1, 1, "the configuration")));
    if (checkpoint) memcpy(*text, ls_checkpoint_config(checkpoint), size);
    return ls_comm_broadcast(comm, *text, size, 0);
}

/* The state's records from rank 0's file to every rank's model. */
static ls_status load_state(ls_trainer *t, const ls_checkpoint *checkpoint) {
    ls_status status = LS_OK;
    for (int i = 0; checkpoint && i < t->state.count && status == LS_OK; i++)
        status = ls_checkpoint_read(checkpoint, &t->state.records[i]);
    LS_TRY(ls_comm_agree(t->comm, status));
    ls_progress_mark mark = checkpoint ? *ls_checkpoint_mark(checkpoint) : (ls_progress_mark){0};
    return ls_trainer_resume(t, &mark, &(ls_score){0});
}

static void print_score(const ls_trainer *t, const char *name, const ls_score *score) {
    if (t->comm->rank != 0 || score->count == 0) return;
    double n = (double)score->count, accuracy = score->correct / n;
    printf("%-10s %6lld samples  loss %.6f  accuracy %.4f +- %.4f\n", name, (long long)score->count, score->loss / n,
           accuracy, sqrt(accuracy * (1 - accuracy) / n));
}

static ls_status evaluate_all(ls_trainer *t) {
    ls_score score;
    uint32_t *all;
    LS_TRY(ls_evaluate(t, &t->data.train, t->data.split + t->data.training, t->data.validation, &score));
    print_score(t, "validation", &score);
    LS_TRY(ls_comm_agree(t->comm, ls_calloc(&all, (size_t)t->data.test.count, sizeof *all, "the test samples")));
    for (int64_t i = 0; i < t->data.test.count; i++) all[i] = (uint32_t)i;
    ls_status status = ls_evaluate(t, &t->data.test, all, t->data.test.count, &score);
    free(all);
    LS_TRY(status);
    print_score(t, "test", &score);
    return LS_OK;
}

static ls_status eval_with(ls_comm *comm, ls_checkpoint *checkpoint, const char *path, ls_config *config) {
    ls_trainer *t;
    LS_TRY(ls_trainer_create(comm, config, &t));
    ls_status status = LS_OK;
    if (checkpoint && ls_checkpoint_mark(checkpoint)->data_digest != t->data.digest && comm->rank == 0)
        printf("note: %s was trained on other data than %s (%s)\n", path, t->data.folder, t->data.name);
    status = load_state(t, checkpoint);
    if (status == LS_OK) status = evaluate_all(t);
    ls_trainer_destroy(&t);
    return status;
}

/* What the checkpoint's model and its split of the samples depend on stays as it is, else the scores would be of something
 * else. Keys that nobody knows are left to the configuration, which finds the nearest name. */
static ls_status check_overrides(const char *const *overrides, int count) {
    for (int i = 0; i < count; i++) {
        char name[LS_NAME_MAX];
        int length = (int)strcspn(overrides[i], "=.");
        snprintf(name, sizeof name, "%.*s", length, overrides[i]);
        const ls_key *key = ls_key_find(&ls_option_keys, name);
        bool layers = strcmp(name, "network") == 0 || strcmp(name, "defaults") == 0;
        if (layers || (key && key->effect == LS_KEY_RESULT && strcmp(name, "eval_batch") != 0))
            return ls_fail(LS_USAGE, "command line: %s: %s is the checkpoint's; eval takes data, eval_batch, threads and "
                           "other keys that say how to run", overrides[i], name);
    }
    return LS_OK;
}

ls_status ls_eval(ls_comm *comm, const char *path, const char *const *overrides, int override_count) {
    ls_checkpoint *checkpoint = NULL;
    ls_config *config = NULL;
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    char *text = NULL;
    ls_network_layer_keys(layers);
    ls_status status = ls_comm_agree(comm, comm->rank == 0 ? ls_checkpoint_open(path, &checkpoint) : LS_OK);
    if (status == LS_OK) status = send_config_text(comm, checkpoint, &text);
    if (status == LS_OK)
        status = ls_comm_agree(comm, ls_config_parse(path, text, strlen(text), &ls_option_keys, layers,
                                                     ls_layer_class_count, &config));
    if (status == LS_OK) status = ls_comm_agree(comm, check_overrides(overrides, override_count));
    if (status == LS_OK) status = ls_comm_agree(comm, ls_config_override(config, overrides, override_count));
    if (status == LS_OK) status = eval_with(comm, checkpoint, path, config);
    ls_config_destroy(&config);
    ls_checkpoint_close(&checkpoint);
    free(text);
    return status;
}
