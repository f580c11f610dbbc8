/* The communicator of one rank: nothing moves, nothing waits. */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "dist/comm.h"

static ls_status self_allgather(ls_comm *comm, const void *send, void *recv, const int *counts,
                                const int *displacements) {
    (void)comm;
    if (counts[0] > 0) memmove((char *)recv + displacements[0], send, (size_t)counts[0]);
    return LS_OK;
}

static ls_status self_alltoall(ls_comm *comm, const void *send, const int *send_counts,
                               const int *send_displacements, void *recv, const int *recv_counts,
                               const int *recv_displacements) {
    (void)comm;
    (void)recv_counts;
    if (send_counts[0] > 0)
        memmove((char *)recv + recv_displacements[0], (const char *)send + send_displacements[0],
                (size_t)send_counts[0]);
    return LS_OK;
}

static ls_status self_broadcast(ls_comm *comm, void *data, size_t size, int root) {
    (void)comm;
    (void)data;
    (void)size;
    (void)root;
    return LS_OK;
}

static void self_destroy(ls_comm *comm) {
    (void)comm;
}

static void self_abort(ls_comm *comm, int code) {
    (void)comm;
    exit(code);
}

static const ls_comm_class self_class = {.name = "self",
                                         .allgather = self_allgather,
                                         .alltoall = self_alltoall,
                                         .broadcast = self_broadcast,
                                         .destroy = self_destroy,
                                         .abort = self_abort};

ls_status ls_comm_create_self(ls_comm **out) {
    static const int first[] = {0, 1};
    LS_TRY(ls_calloc(out, 1, sizeof **out, "the communicator"));
    **out = (ls_comm){.class = &self_class,
                      .size = 1,
                      .ranks_on_host = 1,
                      .hosts = 1,
                      .host_first = first,
                      .timeout = 300,
                      .phase = "start"};
    ls_log_set_rank(0, 1);
    return LS_OK;
}
