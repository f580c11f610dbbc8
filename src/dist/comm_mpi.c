/* MPI as a mover of bytes. Messages are non-blocking, and waited for in comm_mpi_wait.c. */
#define _XOPEN_SOURCE 700 /* SA_RESTART, setitimer */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/team.h"
#include "dist/comm_mpi.h"
#include "dist/launcher.h"

static volatile sig_atomic_t starting; /* the process that is in MPI_Init, not one that MPI forks */

bool ls_comm_is_starting(void) {
    return starting != 0 && (pid_t)starting == getpid();
}

ls_status ls_mpi_failure(const char *call, int error) {
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length = 0;
    if (MPI_Error_string(error, text, &length) != MPI_SUCCESS) length = 0;
    return ls_fail(LS_INTERNAL, "MPI: %s: %s", call, text);
}

/* MPI's own start and end wait for all ranks too, where nobody can look at a clock: a timer does. It ticks
 * eight times in the time-out, and the ninth tick ends the process: of those that a stopped process misses,
 * it gets one. What it is to say is made before, since a handler must not print. */
enum { TICKS = 8 };
static char last_words[160];
static size_t last_length;
static volatile sig_atomic_t ticks;

static void tick(int number) {
    (void)number;
    if (++ticks <= TICKS) return;
    ssize_t told = write(STDERR_FILENO, last_words, last_length);
    (void)told;
    _exit(LS_STUCK);
}

static ls_status set_timer(double seconds) {
    const struct timeval period = {(time_t)seconds, (suseconds_t)(1e6 * (seconds - (double)(time_t)seconds))};
    if (setitimer(ITIMER_REAL, &(struct itimerval){period, period}, NULL) == 0) return LS_OK;
    return ls_fail(LS_INTERNAL, "no timer of %g s: %s", seconds, strerror(errno));
}

static ls_status watch(double timeout, long rank, const char *call) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    char speaker[32] = "";
    if (rank >= 0) snprintf(speaker, sizeof speaker, "[rank %ld] ", rank);
    snprintf(last_words, sizeof last_words, "lockstep: %serror: waited %.1f s in %s: a rank is stuck\n",
             speaker, timeout * (TICKS + 1) / TICKS, call);
    last_length = strlen(last_words);
    ticks = 0;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGALRM, &action, NULL) != 0)
        return ls_fail(LS_INTERNAL, "SIGALRM: no handler can be set: %s", strerror(errno));
    return set_timer(timeout / TICKS);
}

static ls_status watch_no_more(void) {
    LS_TRY(set_timer(0));
    signal(SIGALRM, SIG_DFL);
    return LS_OK;
}

/* --- collectives -------------------------------------------------------------------------------------- */

/* A collective begins: no requests yet, and a number of its own. */
static void begin(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    for (int i = 0; i < 2 * comm->size; i++) state->requests[i] = MPI_REQUEST_NULL;
    state->number++;
}

/* Of a message of the collective at hand: 0 .. LS_MPI_TAGS - 1, other factors for each part so that
 * neighbours differ. */
static int tag_of(const ls_comm *comm, int bytes) {
    const ls_mpi_state *state = comm->state;
    return (int)((state->number + comm->step * 7919 + (uint64_t)bytes * 104729) % LS_MPI_TAGS);
}

static ls_status receive(ls_comm *comm, void *data, int bytes, int source) {
    ls_mpi_state *state = comm->state;
    if (bytes > 0)
        LS_MPI(MPI_Irecv(data, bytes, MPI_BYTE, source, tag_of(comm, bytes), MPI_COMM_WORLD,
                         &state->requests[source]));
    return LS_OK;
}

static ls_status send(ls_comm *comm, const void *data, int bytes, int destination) {
    ls_mpi_state *state = comm->state;
    if (bytes > 0)
        LS_MPI(MPI_Isend(data, bytes, MPI_BYTE, destination, tag_of(comm, bytes), MPI_COMM_WORLD,
                         &state->requests[comm->size + destination]));
    return LS_OK;
}

static ls_status mpi_allgather(ls_comm *comm, const void *data, void *recv, const int *counts,
                               const int *displacements) {
    int own = counts[comm->rank];
    begin(comm);
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank) LS_TRY(receive(comm, (char *)recv + displacements[r], counts[r], r));
    for (int i = 1; i < comm->size; i++) LS_TRY(send(comm, data, own, (comm->rank + i) % comm->size));
    if (own > 0) memcpy((char *)recv + displacements[comm->rank], data, (size_t)own);
    return ls_mpi_complete(comm);
}

static ls_status mpi_alltoall(ls_comm *comm, const void *data, const int *send_counts,
                              const int *send_displacements, void *recv, const int *recv_counts,
                              const int *recv_displacements) {
    int rank = comm->rank;
    begin(comm);
    for (int r = 0; r < comm->size; r++)
        if (r != rank) LS_TRY(receive(comm, (char *)recv + recv_displacements[r], recv_counts[r], r));
    for (int i = 1; i < comm->size; i++) {
        int r = (rank + i) % comm->size;
        LS_TRY(send(comm, (const char *)data + send_displacements[r], send_counts[r], r));
    }
    if (send_counts[rank] > 0)
        memcpy((char *)recv + recv_displacements[rank], (const char *)data + send_displacements[rank],
               (size_t)send_counts[rank]);
    return ls_mpi_complete(comm);
}

static ls_status mpi_broadcast(ls_comm *comm, void *data, size_t size, int root) {
    /* counts are int: large arrays go in pieces */
    for (size_t at = 0; at < size;) {
        int piece = size - at < INT_MAX / 2 ? (int)(size - at) : INT_MAX / 2;
        char *here = (char *)data + at;
        begin(comm);
        if (comm->rank != root) LS_TRY(receive(comm, here, piece, root));
        for (int r = 0; comm->rank == root && r < comm->size; r++)
            if (r != root) LS_TRY(send(comm, here, piece, r));
        LS_TRY(ls_mpi_complete(comm));
        at += (size_t)piece;
    }
    return LS_OK;
}

static void mpi_destroy(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    ls_mpi_beats_destroy(comm);
    if (state->initialised_here) {
        if (watch(comm->timeout, comm->rank, "MPI_Finalize") != LS_OK)
            ls_log(LS_LOG_WARNING, "%s", ls_error_message());
        if (MPI_Finalize() != MPI_SUCCESS) ls_log(LS_LOG_WARNING, "MPI_Finalize failed");
        if (watch_no_more() != LS_OK) ls_log(LS_LOG_WARNING, "%s", ls_error_message());
    }
    free(state->requests);
    free(state);
}

static void mpi_abort(ls_comm *comm, int code) {
    (void)comm;
    MPI_Abort(MPI_COMM_WORLD, code); /* does not return */
    exit(code);
}

static const ls_comm_class mpi_class = {.name = "mpi",
                                        .allgather = mpi_allgather,
                                        .alltoall = mpi_alltoall,
                                        .broadcast = mpi_broadcast,
                                        .wait = ls_mpi_wait,
                                        .destroy = mpi_destroy,
                                        .abort = mpi_abort};

/* srun without PMI starts n processes that each believe to be alone: n runs on top of each other.
 * SLURM_NTASKS alone also stands in a plain batch script, so only inside a step (SLURM_PROCID and a step id)
 * does it count. */
static ls_status check_launch(int size) {
    const char *variable = NULL;
    long n = ls_launcher_ranks(&variable);
    bool slurm = variable && strncmp(variable, "SLURM", 5) == 0;
    if (size != 1 || n <= 1) return LS_OK;
    if (slurm && (!getenv("SLURM_PROCID") || !getenv("SLURM_STEP_ID") || getenv("OMPI_COMM_WORLD_RANK")))
        return LS_OK;
    return ls_fail(LS_USAGE,
                   "%s=%ld, but MPI sees one process alone: the launcher and MPI do not know each other. "
                   "Use srun --mpi=pmix, or mpirun, or comm=self for independent runs",
                   variable, n);
}

static ls_status initialise(ls_comm *comm, ls_mpi_state *state) {
    int initialised = 0, provided = 0;
    MPI_Comm node;
    LS_MPI(MPI_Initialized(&initialised));
    if (!initialised) {
        /* MPI has no ranks before its start */
        LS_TRY(watch(comm->timeout, ls_launcher_rank(), "MPI_Init"));
        starting = (sig_atomic_t)getpid();
        int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
        starting = 0;
        if (error != MPI_SUCCESS) return ls_mpi_failure("MPI_Init_thread", error);
        LS_TRY(watch_no_more());
        state->initialised_here = true;
        if (provided < MPI_THREAD_FUNNELED)
            return ls_fail(LS_INTERNAL,
                           "MPI allows no threads beside the one that calls it (MPI_THREAD_FUNNELED)");
    }
    LS_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LS_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &comm->rank));
    LS_MPI(MPI_Comm_size(MPI_COMM_WORLD, &comm->size));
    LS_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    LS_MPI(MPI_Comm_size(node, &comm->ranks_on_node));
    LS_MPI(MPI_Comm_rank(node, &comm->node_rank));
    LS_MPI(MPI_Comm_free(&node));
    LS_TRY(ls_calloc(&state->requests, 2 * (size_t)comm->size, sizeof(MPI_Request), "the communicator"));
    LS_TRY(ls_mpi_beats_create(comm));
    state->yield = comm->ranks_on_node > ls_available_cores();
    ls_log_set_rank(comm->rank, comm->size);
    return check_launch(comm->size);
}

ls_status ls_comm_create_mpi(ls_comm **out) {
    ls_comm *comm;
    ls_mpi_state *state;
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
