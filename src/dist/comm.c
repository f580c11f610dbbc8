#include "dist/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "dist/launcher.h"

ls_status ls_comm_create(const char *name, ls_comm **comm) {
    *comm = NULL;
    if (strcmp(name, "auto") == 0) name = ls_launcher_is_there() ? "mpi" : "self";
    if (strcmp(name, "mpi") == 0) return ls_comm_create_mpi(comm);
    if (strcmp(name, "self") == 0) return ls_comm_create_self(comm);
    return ls_fail(LS_USAGE, "comm=%s: not in this build; expected auto, self or mpi", name);
}

void ls_comm_destroy(ls_comm **comm) {
    if (!*comm) return;
    (*comm)->class->destroy(*comm);
    free(*comm);
    *comm = NULL;
}

int ls_comm_host_of(const ls_comm *comm, int rank) {
    int host = 0;
    while (comm->host_first[host + 1] <= rank) host++;
    return host;
}

ls_status ls_comm_broadcast(ls_comm *comm, void *data, size_t size, int root) {
    return comm->class->broadcast(comm, data, size, root);
}

ls_status ls_comm_allgather_equal(ls_comm *comm, const void *send, size_t size, void *recv) {
    int *counts;
    LS_TRY(ls_calloc(&counts, 2 * (size_t)comm->size, sizeof *counts, "a message"));
    for (int r = 0; r < comm->size; r++) {
        counts[r] = (int)size;
        counts[comm->size + r] = r * (int)size;
    }
    ls_status status = comm->class->allgather(comm, send, recv, counts, counts + comm->size);
    free(counts);
    return status;
}

ls_status ls_comm_everywhere(ls_comm *comm, ls_status status) {
    if (status != LS_OK) comm->agreed = true;
    return status;
}

ls_status ls_comm_agree(ls_comm *comm, ls_status status) {
    enum { TEXT = 1024 };
    int mine = (int)status, *all;
    char text[TEXT] = "";
    if (comm->size == 1) return ls_comm_everywhere(comm, status);
    snprintf(text, sizeof text, "%s", status == LS_OK ? "" : ls_error_message());
    LS_TRY(ls_calloc(&all, (size_t)comm->size, sizeof *all, "a message"));
    ls_status sent = ls_comm_allgather_equal(comm, &mine, sizeof mine, all);
    int failed = 0;
    while (sent == LS_OK && failed < comm->size && all[failed] == (int)LS_OK) failed++;
    if (sent == LS_OK && failed < comm->size) {
        mine = all[failed];
        sent = ls_comm_broadcast(comm, text, sizeof text, failed);
    } else {
        mine = (int)LS_OK;
    }
    free(all);
    LS_TRY(sent);
    if (mine == (int)LS_OK) return LS_OK;
    comm->agreed = true;
    return failed == 0 ? ls_fail((ls_status)mine, "%s", text)
                       : ls_fail((ls_status)mine, "rank %d: %s", failed, text);
}
