/* The begin of a verb that runs by a configuration: read it, set up communication, agree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "dist/launcher.h"

ls_status ls_create_comm(const ls_options *o, ls_comm **comm) {
    static const char *const names[] = {"auto", "self", "mpi"}; /* ls_comm_kind */
    LS_TRY(ls_comm_create(names[o->comm], comm));
    (*comm)->timeout = o->timeout;
    return LS_OK;
}

/* The same of a configuration; one that cannot be read is agreed on the default one. */
static ls_status create_comm_for(const ls_config *config, ls_comm **comm) {
    ls_options o = {0};
    if (!config) return ls_comm_create("auto", comm);
    ls_status status = ls_config_settings(config, &o);
    if (status == LS_OK) status = ls_create_comm(&o, comm);
    ls_keys_free(&ls_option_keys, &o);
    return status;
}

/* Every rank reads the configuration for itself; they must have read the same. */
static ls_status compare_config(ls_comm *comm, const ls_config *config) {
    char *own = NULL, *root = NULL;
    uint64_t size = 0;
    LS_TRY(ls_comm_agree(comm, ls_config_resolve(config, &own)));
    size = strlen(own) + 1;
    ls_status status = ls_comm_broadcast(comm, &size, sizeof size, 0);
    if (status == LS_OK) status = ls_comm_agree(comm, ls_calloc(&root, size, 1, "the configuration"));
    if (status == LS_OK) {
        if (comm->rank == 0) memcpy(root, own, size);
        status = ls_comm_broadcast(comm, root, size, 0);
    }
    if (status == LS_OK && strcmp(own, root) != 0)
        status = ls_fail(LS_USAGE, "this rank reads another configuration than rank 0");
    if (status == LS_OK || status == LS_USAGE) status = ls_comm_agree(comm, status);
    free(own);
    free(root);
    return status;
}

/* --- a configuration that can be read once ------------------------------------------------------------- */

static ls_status load(const ls_start *from, ls_config_files *files, ls_config **config) {
    return ls_config_load_from(files, from->path, from->overrides, from->count, &ls_option_keys, from->layers,
                               ls_layer_class_count, config);
}

/* Rank 0's texts to all. */
static ls_status send_texts(ls_comm *comm, ls_config_files *files) {
    int count = files->count;
    LS_TRY(ls_comm_broadcast(comm, &count, sizeof count, 0));
    for (int i = 0; i < count; i++) {
        uint64_t size = comm->rank == 0 ? files->texts[i].length : 0;
        char *text = comm->rank == 0 ? files->texts[i].text : NULL;
        LS_TRY(ls_comm_broadcast(comm, &size, sizeof size, 0));
        ls_status status =
            comm->rank == 0 ? LS_OK : ls_calloc(&text, (size_t)size + 1, 1, "the text of a configuration");
        if (comm->rank != 0 && status == LS_OK) status = ls_config_files_add(files, text, (size_t)size);
        LS_TRY(ls_comm_agree(comm, status));
        LS_TRY(ls_comm_broadcast(comm, text, (size_t)size, 0));
    }
    return LS_OK;
}

/* What it says of communication comes too late for some of it. */
static ls_status take_over_comm(const ls_config *config, ls_comm *comm) {
    ls_options o = {0};
    LS_TRY(ls_config_settings(config, &o));
    comm->timeout = o.timeout;
    const bool alone = o.comm == LS_COMM_SELF && comm->size > 1;
    ls_keys_free(&ls_option_keys, &o);
    if (!alone) return LS_OK;
    return ls_fail(LS_USAGE,
                   "%s: comm=self: several processes cannot read one pipe each for itself; expected a file",
                   ls_config_key_position(config, "comm"));
}

/* Rank 0 reads for all. */
static ls_status share(const ls_start *from, ls_comm *comm, ls_config **config) {
    ls_config_files files = {.source = LS_CONFIG_RECORD};
    ls_config_destroy(config);
    ls_status status = ls_comm_agree(comm, comm->rank == 0 ? load(from, &files, config) : LS_OK);
    if (status == LS_OK) status = send_texts(comm, &files);
    files.source = LS_CONFIG_GIVEN;
    if (status == LS_OK) status = ls_comm_agree(comm, comm->rank == 0 ? LS_OK : load(from, &files, config));
    ls_config_files_destroy(&files);
    return status == LS_OK ? ls_comm_agree(comm, take_over_comm(*config, comm)) : status;
}

/* --- the begin ------------------------------------------------------------------------------------------ */

static bool asks_for_self(const ls_start *from) {
    for (int i = 0; i < from->count; i++)
        if (strcmp(from->overrides[i], "comm=self") == 0) return true;
    return false;
}

ls_status ls_start_verb(ls_status before, const ls_start *from, ls_comm **comm, ls_config **config) {
    char why[1024];
    const bool several = ls_launcher_is_there() && !asks_for_self(from);
    ls_config_files files = {.source = LS_CONFIG_LOOK};
    ls_status status = before;
    if (status == LS_OK) status = load(from, several ? &files : NULL, config);
    snprintf(why, sizeof why, "%s", ls_error_message());
    LS_TRY(create_comm_for(status == LS_OK ? *config : NULL, comm));
    bool stream = files.stream;
    LS_TRY(ls_comm_broadcast(*comm, &stream, sizeof stream, 0));
    if (stream) return share(from, *comm, config);
    LS_TRY(ls_comm_agree(*comm, status == LS_OK ? LS_OK : ls_fail(status, "%s", why)));
    return compare_config(*comm, *config);
}
