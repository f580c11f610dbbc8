/* MPI as a mover of bytes. Calls are non-blocking and completed by testing, so that a rank can give its processor away
 * where there are more ranks than cores, and so that waiting has a deadline. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/team.h"
#include "dist/comm.h"

/* Turns an MPI error into a status with MPI's own text. MPI_COMM_WORLD returns errors instead of aborting. */
#define LS_MPI(call)                                                                                         \
    do {                                                                                                     \
        int ls_mpi_error_ = (call);                                                                          \
        if (ls_mpi_error_ != MPI_SUCCESS) return mpi_failure(#call, ls_mpi_error_);                          \
    } while (0)

static ls_status mpi_failure(const char *call, int error) {
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length = 0;
    if (MPI_Error_string(error, text, &length) != MPI_SUCCESS) length = 0;
    return ls_fail(LS_INTERNAL, "MPI: %s: %s", call, text);
}

/* Ranks of this node share its cores; with more ranks than cores a waiting rank must not hold one. */
typedef struct mpi_state {
    bool initialised_here;
    bool yield;
} mpi_state;

static ls_status stuck(const ls_comm *comm, double waited) {
    return ls_fail(LS_STUCK, "rank %d has waited %.0f s for the other ranks in step %llu, %s (timeout=%g)", comm->rank,
                   waited, (unsigned long long)comm->step, comm->phase, comm->timeout);
}

static ls_status complete(ls_comm *comm, MPI_Request *request) {
    enum { SPINS_BETWEEN_CLOCKS = 256 };
    const mpi_state *state = comm->state;
    double begin = ls_clock();
    for (unsigned spins = 1;; spins++) {
        int done = 0;
        LS_MPI(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) break;
        if (state->yield) sched_yield();
        if (spins % SPINS_BETWEEN_CLOCKS == 0) {
            double waited = ls_clock() - begin;
            if (waited > comm->timeout) return stuck(comm, waited);
        }
    }
    comm->wait_seconds += ls_clock() - begin;
    return LS_OK;
}

static ls_status mpi_allgather(ls_comm *comm, const void *send, void *recv, const int *counts,
                               const int *displacements) {
    MPI_Request request;
    LS_MPI(MPI_Iallgatherv(send, counts[comm->rank], MPI_BYTE, recv, counts, displacements, MPI_BYTE, MPI_COMM_WORLD,
                           &request));
    return complete(comm, &request);
}

static ls_status mpi_alltoall(ls_comm *comm, const void *send, const int *send_counts, const int *send_displacements,
                              void *recv, const int *recv_counts, const int *recv_displacements) {
    MPI_Request request;
    LS_MPI(MPI_Ialltoallv(send, send_counts, send_displacements, MPI_BYTE, recv, recv_counts, recv_displacements,
                          MPI_BYTE, MPI_COMM_WORLD, &request));
    return complete(comm, &request);
}

static ls_status mpi_broadcast(ls_comm *comm, void *data, size_t size, int root) {
    /* counts are int: large arrays go in pieces */
    for (size_t at = 0; at < size;) {
        size_t piece = size - at < INT_MAX / 2 ? size - at : INT_MAX / 2;
        MPI_Request request;
        LS_MPI(MPI_Ibcast((char *)data + at, (int)piece, MPI_BYTE, root, MPI_COMM_WORLD, &request));
        LS_TRY(complete(comm, &request));
        at += piece;
    }
    return LS_OK;
}

static void mpi_destroy(ls_comm *comm) {
    mpi_state *state = comm->state;
    if (state->initialised_here && MPI_Finalize() != MPI_SUCCESS) ls_log(LS_LOG_WARNING, "MPI_Finalize failed");
    free(state);
}

static void mpi_abort(ls_comm *comm, int code) {
    (void)comm;
    MPI_Abort(MPI_COMM_WORLD, code); /* does not return */
    exit(code);
}

static const ls_comm_class mpi_class = {"mpi", mpi_allgather, mpi_alltoall, mpi_broadcast, mpi_destroy, mpi_abort};

/* srun without PMI starts n processes that each believe to be alone: n runs on top of each other. SLURM_NTASKS alone also
 * stands in a plain batch script, so only inside a step (SLURM_PROCID and a step id) does it count. */
static ls_status check_launch(int size) {
    const char *variable = NULL;
    long n = ls_launched_as(&variable);
    bool slurm = variable && strncmp(variable, "SLURM", 5) == 0;
    if (size != 1 || n <= 1) return LS_OK;
    if (slurm && (!getenv("SLURM_PROCID") || !getenv("SLURM_STEP_ID") || getenv("OMPI_COMM_WORLD_RANK"))) return LS_OK;
    return ls_fail(LS_USAGE,
                   "%s=%ld, but MPI sees one process alone: the launcher and MPI do not know each other. "
                   "Use srun --mpi=pmix, or mpirun, or comm=self for independent runs",
                   variable, n);
}

static ls_status initialise(ls_comm *comm, mpi_state *state) {
    int initialised = 0, provided = 0;
    MPI_Comm node;
    LS_MPI(MPI_Initialized(&initialised));
    if (!initialised) {
        LS_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
        state->initialised_here = true;
    }
    LS_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LS_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &comm->rank));
    LS_MPI(MPI_Comm_size(MPI_COMM_WORLD, &comm->size));
    LS_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    LS_MPI(MPI_Comm_size(node, &comm->ranks_on_node));
    LS_MPI(MPI_Comm_free(&node));
    state->yield = comm->ranks_on_node > ls_available_cores();
    ls_log_set_rank(comm->rank, comm->size);
    return check_launch(comm->size);
}

ls_status ls_comm_create_mpi(ls_comm **out) {
    ls_comm *comm;
    mpi_state *state;
    LS_TRY(ls_calloc(&comm, 1, sizeof *comm, "the communicator"));
    *comm = (ls_comm){.class = &mpi_class, .size = 1, .ranks_on_node = 1, .timeout = 300, .phase = "start"};
    ls_status status = ls_calloc(&state, 1, sizeof *state, "the communicator");
    if (status == LS_OK) {
        comm->state = state;
        status = initialise(comm, state);
    }
    if (status != LS_OK) {
        comm->agreed = true; /* each rank finds out by itself */
        if (comm->state) ls_comm_destroy(&comm);
        free(comm);
        return status;
    }
    *out = comm;
    return LS_OK;
}
