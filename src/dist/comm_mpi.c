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

static ls_status mpi_begin(ls_comm *comm, ls_channel which) {
    ls_mpi_state *state = comm->state;
    ls_mpi_channel *channel = &state->channels[which];
    channel->count = 0; /* but for a collective that failed it is */
    channel->number++;
    channel->step = comm->step;
    return LS_OK;
}

/* Of a message of the collective at hand: 0 .. LS_MPI_TAGS - 1, other factors for each part so that
 * neighbours differ. Meanwhile the order in which messages are sent says which is which, so all have one
 * tag. */
static int tag_of(const ls_mpi_state *state, ls_channel which, size_t bytes) {
    const ls_mpi_channel *channel = &state->channels[which];
    const uint64_t size = which == LS_AT_HAND ? bytes * 104729 : 0;
    return (int)((channel->number + channel->step * 7919 + size) % LS_MPI_TAGS);
}

/* A place for one more message. */
static ls_status make_room(ls_mpi_channel *channel) {
    if (channel->count < channel->room) return LS_OK;
    const int room = 2 * channel->room + 16;
    MPI_Request *requests;
    int *source;
    LS_TRY(ls_calloc(&requests, (size_t)room, sizeof *requests, "the communicator"));
    ls_status status = ls_calloc(&source, (size_t)room, sizeof *source, "the communicator");
    if (status != LS_OK) {
        free(requests);
        return status;
    }
    for (int i = 0; i < channel->count; i++) {
        requests[i] = channel->requests[i];
        source[i] = channel->source[i];
    }
    free(channel->requests);
    free(channel->source);
    channel->requests = requests;
    channel->source = source;
    channel->room = room;
    return LS_OK;
}

static ls_status mpi_receive(ls_comm *comm, ls_channel which, void *data, size_t bytes, int source) {
    ls_mpi_state *state = comm->state;
    ls_mpi_channel *channel = &state->channels[which];
    if (bytes == 0) return LS_OK;
    LS_TRY(make_room(channel));
    LS_MPI(MPI_Irecv(data, (int)bytes, MPI_BYTE, source, tag_of(state, which, bytes), channel->comm,
                     &channel->requests[channel->count]));
    channel->source[channel->count++] = source;
    return LS_OK;
}

static ls_status mpi_send(ls_comm *comm, ls_channel which, const void *data, size_t bytes, int destination) {
    ls_mpi_state *state = comm->state;
    ls_mpi_channel *channel = &state->channels[which];
    if (bytes == 0) return LS_OK;
    LS_TRY(make_room(channel));
    LS_MPI(MPI_Isend(data, (int)bytes, MPI_BYTE, destination, tag_of(state, which, bytes), channel->comm,
                     &channel->requests[channel->count]));
    channel->source[channel->count++] = -1;
    return LS_OK;
}

/* A receive is taken back; what has been sent is MPI's to bring there or not. */
static ls_status mpi_abandon(ls_comm *comm, ls_channel which) {
    ls_mpi_state *state = comm->state;
    ls_mpi_channel *channel = &state->channels[which];
    for (int i = 0; i < channel->count; i++) {
        if (channel->requests[i] == MPI_REQUEST_NULL) continue;
        if (channel->source[i] >= 0) LS_MPI(MPI_Cancel(&channel->requests[i]));
        LS_MPI(MPI_Request_free(&channel->requests[i]));
    }
    channel->count = 0;
    return LS_OK;
}

static ls_status mpi_allgather(ls_comm *comm, const void *data, void *recv, const int *counts,
                               const int *displacements) {
    const size_t own = (size_t)counts[comm->rank];
    LS_TRY(mpi_begin(comm, LS_AT_HAND));
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank)
            LS_TRY(mpi_receive(comm, LS_AT_HAND, (char *)recv + displacements[r], (size_t)counts[r], r));
    for (int i = 1; i < comm->size; i++)
        LS_TRY(mpi_send(comm, LS_AT_HAND, data, own, (comm->rank + i) % comm->size));
    if (own > 0) memcpy((char *)recv + displacements[comm->rank], data, own);
    return ls_mpi_complete(comm, LS_AT_HAND);
}

static ls_status mpi_alltoall(ls_comm *comm, const void *data, const int *send_counts,
                              const int *send_displacements, void *recv, const int *recv_counts,
                              const int *recv_displacements) {
    int rank = comm->rank;
    LS_TRY(mpi_begin(comm, LS_AT_HAND));
    for (int r = 0; r < comm->size; r++)
        if (r != rank)
            LS_TRY(mpi_receive(comm, LS_AT_HAND, (char *)recv + recv_displacements[r], (size_t)recv_counts[r],
                               r));
    for (int i = 1; i < comm->size; i++) {
        int r = (rank + i) % comm->size;
        LS_TRY(mpi_send(comm, LS_AT_HAND, (const char *)data + send_displacements[r], (size_t)send_counts[r],
                        r));
    }
    if (send_counts[rank] > 0)
        memcpy((char *)recv + recv_displacements[rank], (const char *)data + send_displacements[rank],
               (size_t)send_counts[rank]);
    return ls_mpi_complete(comm, LS_AT_HAND);
}

static ls_status mpi_broadcast(ls_comm *comm, void *data, size_t size, int root) {
    /* counts are int: large arrays go in pieces */
    for (size_t at = 0; at < size;) {
        const size_t piece = size - at < INT_MAX / 2 ? size - at : INT_MAX / 2;
        char *here = (char *)data + at;
        LS_TRY(mpi_begin(comm, LS_AT_HAND));
        if (comm->rank != root) LS_TRY(mpi_receive(comm, LS_AT_HAND, here, piece, root));
        for (int r = 0; comm->rank == root && r < comm->size; r++)
            if (r != root) LS_TRY(mpi_send(comm, LS_AT_HAND, here, piece, r));
        LS_TRY(ls_mpi_complete(comm, LS_AT_HAND));
        at += piece;
    }
    return LS_OK;
}

static void warn_unless(ls_status status) {
    if (status != LS_OK) ls_log(LS_LOG_WARNING, "%s", ls_error_message());
}

/* What is under way is given up; a communicator that was made here is freed, which is collective. */
static ls_status close_channel(ls_comm *comm, ls_channel which) {
    ls_mpi_state *state = comm->state;
    ls_mpi_channel *channel = &state->channels[which];
    LS_TRY(mpi_abandon(comm, which));
    if (channel->comm != MPI_COMM_NULL && channel->comm != MPI_COMM_WORLD)
        LS_MPI(MPI_Comm_free(&channel->comm));
    return LS_OK;
}

static void mpi_destroy(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    ls_mpi_beats_destroy(comm);
    if (state->initialised_here) warn_unless(watch(comm->timeout, comm->rank, "MPI_Finalize"));
    for (int c = LS_CHANNELS - 1; c >= 0; c--) warn_unless(close_channel(comm, (ls_channel)c));
    if (state->initialised_here) {
        if (MPI_Finalize() != MPI_SUCCESS) ls_log(LS_LOG_WARNING, "MPI_Finalize failed");
        warn_unless(watch_no_more());
    }
    for (int c = 0; c < LS_CHANNELS; c++) {
        free(state->channels[c].requests);
        free(state->channels[c].source);
    }
    free(state->host_first);
    free(state->host_name);
    free(state->names);
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
                                        .begin = mpi_begin,
                                        .receive = mpi_receive,
                                        .send = mpi_send,
                                        .complete = ls_mpi_complete,
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
    LS_MPI(MPI_Initialized(&initialised));
    if (!initialised) {
        /* MPI has no ranks before its start */
        LS_TRY(watch(comm->timeout, ls_launcher_rank(), "MPI_Init"));
        starting = (sig_atomic_t)getpid();
        int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
        starting = 0;
        if (error != MPI_SUCCESS) return ls_mpi_failure("MPI_Init_thread", error);
        state->initialised_here = true;
        if (provided < MPI_THREAD_FUNNELED)
            return ls_fail(LS_INTERNAL,
                           "MPI allows no threads beside the one that calls it (MPI_THREAD_FUNNELED)");
    }
    LS_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LS_TRY(ls_mpi_find_hosts(comm, &state->channels[LS_AT_HAND].comm));
    if (comm->hosts > 1)
        LS_MPI(MPI_Comm_dup(state->channels[LS_AT_HAND].comm, &state->channels[LS_MEANWHILE].comm));
    if (state->initialised_here) LS_TRY(watch_no_more());
    LS_TRY(ls_mpi_beats_create(comm));
    state->yield = comm->ranks_on_host > ls_available_cores();
    ls_log_set_rank(comm->rank, comm->size);
    return check_launch(comm->size);
}

ls_status ls_comm_create_mpi(ls_comm **out) {
    ls_comm *comm;
    ls_mpi_state *state;
    LS_TRY(ls_calloc(&comm, 1, sizeof *comm, "the communicator"));
    *comm = (ls_comm){.class = &mpi_class, .size = 1, .timeout = 300, .phase = "start"};
    ls_status status = ls_calloc(&state, 1, sizeof *state, "the communicator");
    if (status == LS_OK) {
        comm->state = state;
        for (int c = 0; c < LS_CHANNELS; c++) state->channels[c].comm = MPI_COMM_NULL;
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
