/* Which ranks are on which host. Everything that ranks of a host do together in its memory wants them to
 * follow one another: their shards do then, and few tree nodes of a host leave it. So ranks that the launcher
 * has dealt out in turn (mpirun --map-by node) get other numbers here. */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "dist/comm_mpi.h"

/* For each rank of MPI_COMM_WORLD, the first of those on its host. */
static ls_status find_first(int size, int rank, int *first) {
    MPI_Comm host;
    int own = rank;
    LS_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host));
    LS_MPI(MPI_Bcast(&own, 1, MPI_INT, 0, host));
    LS_MPI(MPI_Comm_free(&host));
    LS_MPI(MPI_Allgather(&own, 1, MPI_INT, first, 1, MPI_INT, MPI_COMM_WORLD));
    for (int r = 0; r < size; r++)
        if (first[r] < 0 || first[r] > r || first[first[r]] != first[r])
            return ls_fail(LS_INTERNAL, "MPI: the ranks of a host do not agree who is on it");
    return LS_OK;
}

/* How many ranks come before that one, host by host: the hosts in the order of their first ranks. */
static int number_of(int size, int rank, const int *first) {
    int before = 0;
    for (int r = 0; r < size; r++) before += first[r] < first[rank] || (first[r] == first[rank] && r < rank);
    return before;
}

/* From `first`, of the ranks as numbered by number_of(). */
static ls_status describe(ls_comm *comm, const int *first, int rank) {
    ls_mpi_state *state = comm->state;
    const size_t size = (size_t)comm->size;
    LS_TRY(ls_calloc(&state->host_first, size + 1, sizeof *state->host_first, "the communicator"));
    for (int r = 0; r < comm->size; r++)
        if (first[r] == r) {
            if (r == first[rank]) comm->host = comm->hosts;
            state->host_first[comm->hosts++] = number_of(comm->size, r, first);
        }
    state->host_first[comm->hosts] = comm->size;
    comm->host_first = state->host_first;
    comm->host_rank = comm->rank - comm->host_first[comm->host];
    comm->ranks_on_host = comm->host_first[comm->host + 1] - comm->host_first[comm->host];
    return LS_OK;
}

static ls_status name_hosts(ls_comm *comm, MPI_Comm all) {
    ls_mpi_state *state = comm->state;
    char own[MPI_MAX_PROCESSOR_NAME] = "";
    int length;
    if (comm->hosts == 1) return LS_OK;
    LS_TRY(ls_calloc(&state->names, (size_t)comm->size, sizeof *state->names, "the communicator"));
    LS_TRY(ls_calloc(&state->host_name, (size_t)comm->hosts, sizeof *state->host_name, "the communicator"));
    LS_MPI(MPI_Get_processor_name(own, &length));
    LS_MPI(MPI_Allgather(own, sizeof own, MPI_CHAR, state->names, sizeof own, MPI_CHAR, all));
    for (int h = 0; h < comm->hosts; h++) state->host_name[h] = state->names[comm->host_first[h]];
    comm->host_name = state->host_name;
    return LS_OK;
}

static ls_status find_hosts(ls_comm *comm, int rank, int *first, MPI_Comm *all) {
    bool moved = false;
    LS_TRY(find_first(comm->size, rank, first));
    comm->rank = number_of(comm->size, rank, first);
    for (int r = 0; r < comm->size; r++) moved = moved || number_of(comm->size, r, first) != r;
    *all = MPI_COMM_WORLD;
    if (moved) {
        LS_MPI(MPI_Comm_split(MPI_COMM_WORLD, 0, comm->rank, all));
        LS_MPI(MPI_Comm_set_errhandler(*all, MPI_ERRORS_RETURN));
        if (comm->rank == 0)
            ls_log(LS_LOG_INFO, "ranks are numbered host by host here, not in turn as the launcher does it; "
                                "mpirun --map-by slot does so too");
    }
    LS_TRY(describe(comm, first, rank));
    return name_hosts(comm, *all);
}

ls_status ls_mpi_find_hosts(ls_comm *comm, MPI_Comm *all) {
    int rank, *first;
    LS_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    LS_MPI(MPI_Comm_size(MPI_COMM_WORLD, &comm->size));
    LS_TRY(ls_calloc(&first, (size_t)comm->size, sizeof *first, "the communicator"));
    ls_status status = find_hosts(comm, rank, first, all);
    free(first);
    return status;
}
