#include "train/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rank 0 sends what is in the file besides the state. */
static ls_status send_header(ls_comm *comm, const ls_checkpoint *checkpoint, ls_restored *r) {
    uint64_t size = checkpoint ? strlen(ls_checkpoint_config(checkpoint)) : 0;
    if (checkpoint) r->mark = *ls_checkpoint_mark(checkpoint);
    LS_TRY(ls_comm_broadcast(comm, &r->mark, sizeof r->mark, 0));
    LS_TRY(ls_comm_broadcast(comm, &size, sizeof size, 0));
    LS_TRY(ls_comm_agree(comm, ls_calloc(&r->config_yaml, size + 1, 1, "the configuration")));
    if (checkpoint) memcpy(r->config_yaml, ls_checkpoint_config(checkpoint), size);
    return ls_comm_broadcast(comm, r->config_yaml, size, 0);
}

static ls_status read_config(ls_comm *comm, const char *verb, const char *const *overrides, int count,
                             ls_restored *r) {
    ls_network_layer_keys(r->layers);
    LS_TRY(
        ls_comm_agree(comm, ls_config_parse(r->path, r->config_yaml, strlen(r->config_yaml), &ls_option_keys,
                                            r->layers, ls_layer_class_count, &r->config)));
    LS_TRY(ls_comm_agree(comm, ls_options_check_look(verb, ls_config_run_keys(r->config), overrides, count)));
    return ls_comm_agree(comm, ls_config_override(r->config, overrides, count));
}

/* The state's records from rank 0's file to every rank's model. */
static ls_status load_state(ls_trainer *t, const ls_checkpoint *checkpoint, const ls_progress_mark *mark) {
    ls_status status = LS_OK;
    if (checkpoint) status = ls_checkpoint_read_all(checkpoint, t->state.records, t->state.count);
    if (status == LS_OK && checkpoint && ls_state_fingerprint(&t->state, mark->step) != mark->fingerprint)
        status = ls_fail(LS_BAD_DATA, "%s: the state does not have the fingerprint that was stored with it",
                         ls_checkpoint_path(checkpoint));
    const char *bad = status == LS_OK && checkpoint ? ls_state_not_finite(&t->state) : NULL;
    if (bad)
        status = ls_fail(LS_NOT_FINITE, "%s: %s holds values that are not finite: no accuracy means anything",
                         ls_checkpoint_path(checkpoint), bad);
    LS_TRY(ls_comm_agree(t->comm, status));
    return ls_trainer_resume(t, mark, &(ls_score){0});
}

static ls_status restore(ls_comm *comm, const char *verb, const ls_checkpoint *checkpoint,
                         const char *const *overrides, int count, ls_restored *r) {
    LS_TRY(send_header(comm, checkpoint, r));
    LS_TRY(read_config(comm, verb, overrides, count, r));
    LS_TRY(ls_trainer_create(comm, r->config, &r->trainer));
    r->other_data = r->mark.data_digest != r->trainer->data.digest;
    return load_state(r->trainer, checkpoint, &r->mark);
}

ls_status ls_restore(ls_comm *comm, const char *verb, const char *path, const char *const *overrides,
                     int override_count, ls_restored *r) {
    ls_checkpoint *checkpoint = NULL;
    *r = (ls_restored){.path = path};
    ls_status status = ls_comm_agree(comm, comm->rank == 0 ? ls_checkpoint_open(path, &checkpoint) : LS_OK);
    if (status == LS_OK) status = restore(comm, verb, checkpoint, overrides, override_count, r);
    ls_checkpoint_close(&checkpoint);
    if (status != LS_OK) ls_restored_destroy(r);
    return status;
}

void ls_restored_destroy(ls_restored *r) {
    ls_trainer_destroy(&r->trainer);
    ls_config_destroy(&r->config);
    free(r->config_yaml);
    *r = (ls_restored){0};
}
