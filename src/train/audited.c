#include "train/audited.h"

#include <stdlib.h>
#include <string.h>

#include "train/versions.h"

ls_status ls_audit_check_bits(const char *path, const char *bits) {
    if (!bits || strtol(bits, NULL, 10) == LS_BITS) return LS_OK;
    return ls_fail(
        LS_BAD_DATA,
        "%s: was made by a build of bits %.16s; this one's are %d, and cannot lead to the same fingerprint",
        path, bits, LS_BITS);
}

ls_status ls_audited_create(ls_comm *comm, const char *name, const char *text,
                            const ls_audit_request *request, ls_audited *d) {
    *d = (ls_audited){0};
    ls_network_layer_keys(d->layers);
    LS_TRY(ls_comm_agree(comm, ls_config_parse(name, text, strlen(text), &ls_option_keys, d->layers,
                                               ls_layer_class_count, &d->config)));
    LS_TRY(ls_comm_agree(comm, ls_options_check_look("audit", ls_config_run_keys(d->config),
                                                     request->overrides, request->override_count)));
    for (int i = 0; i < request->override_count; i++)
        if (strncmp(request->overrides[i], "eval_batch=", strlen("eval_batch=")) == 0)
            return ls_comm_agree(comm, ls_fail(LS_USAGE,
                                               "command line: %s: the last bits of evaluations depend on it",
                                               request->overrides[i]));
    LS_TRY(ls_comm_agree(comm, ls_config_override(d->config, request->overrides, request->override_count)));
    return ls_trainer_create(comm, d->config, &d->trainer);
}

void ls_audited_destroy(ls_audited *d) {
    ls_trainer_destroy(&d->trainer);
    ls_config_destroy(&d->config);
}
