/* MPI as a mover of bytes. Messages are non-blocking and completed by testing, so that a rank can give its processor away
 * where there are more ranks than cores, and so that waiting has a deadline. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
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

/* Every collective is made of direct messages between pairs of ranks: all of them are under way at once, which is one
 * round even where ranks take turns on a core, and a rank that waits knows for whom. The tag is made of the step, the
 * number of the collective and the size of the message, so that the messages of a rank that skipped one, whose count is
 * short, do not pass for those of another; a longer message in a shorter one's place would even be written over the end
 * of its buffer. */
typedef struct mpi_state {
    bool initialised_here;
    bool yield; /* ranks of this node share its cores; with more ranks than cores a waiting rank must not hold one */
    unsigned number; /* collectives so far */
    MPI_Request *requests; /* [2 size]: receives by source, then sends by destination */
    struct beats *beats;
} mpi_state;

enum { TAGS = 32767, BEAT_TAG = TAGS }; /* MPI promises tags up to 32767 */

/* --- who is stuck ---------------------------------------------------------------------------------------------------
 * A rank that has waited a while tells all others, about once a second, that it is alive and in which collective it
 * waits. So the one that is stopped, or computes for ever, is the one that is silent; and one that skipped a collective
 * is ahead of those that wait for it. Where nobody waits long, nothing is sent. */

typedef struct beats {
    double interval, next; /* seconds */
    struct place {
        uint64_t step, number; /* of the collective */
    } sent;                    /* what the messages under way say */
    struct peer {
        MPI_Request send;
        double heard;       /* when, by ls_clock(); 0: never */
        struct place place; /* where it waited */
    } peers[];
} beats;

static ls_status create_beats(const ls_comm *comm, beats **out) {
    LS_TRY(ls_calloc(out, 1, sizeof(beats) + (size_t)comm->size * sizeof(struct peer), "the communicator"));
    for (int r = 0; r < comm->size; r++) (*out)->peers[r].send = MPI_REQUEST_NULL;
    return LS_OK;
}

/* Takes in what the others have said. */
static ls_status listen(ls_comm *comm) {
    mpi_state *state = comm->state;
    for (;;) {
        int there = 0;
        struct place place;
        MPI_Status status;
        LS_MPI(MPI_Iprobe(MPI_ANY_SOURCE, BEAT_TAG, MPI_COMM_WORLD, &there, &status));
        if (!there) return LS_OK;
        LS_MPI(MPI_Recv(&place, (int)sizeof place, MPI_BYTE, status.MPI_SOURCE, BEAT_TAG, MPI_COMM_WORLD,
                        MPI_STATUS_IGNORE));
        state->beats->peers[status.MPI_SOURCE].heard = ls_clock();
        state->beats->peers[status.MPI_SOURCE].place = place;
    }
}

/* Tells the others; one whose last message is still under way gets none. */
static ls_status beat(ls_comm *comm) {
    mpi_state *state = comm->state;
    beats *b = state->beats;
    bool idle = true;
    for (int r = 0; r < comm->size; r++) {
        int done = 0;
        LS_MPI(MPI_Test(&b->peers[r].send, &done, MPI_STATUS_IGNORE));
        idle = idle && done;
    }
    if (idle) b->sent = (struct place){comm->step, state->number};
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank && b->peers[r].send == MPI_REQUEST_NULL)
            LS_MPI(MPI_Isend(&b->sent, (int)sizeof b->sent, MPI_BYTE, r, BEAT_TAG, MPI_COMM_WORLD,
                             &b->peers[r].send));
    return listen(comm);
}

typedef enum suspicion { SILENT, AHEAD, ELSEWHERE, BEHIND } suspicion;

static suspicion suspect(const ls_comm *comm, int r) {
    const mpi_state *state = comm->state;
    const struct peer *peer = &state->beats->peers[r];
    if (peer->heard == 0 || ls_clock() - peer->heard > 3 * state->beats->interval) return SILENT;
    if (peer->place.step != comm->step) return peer->place.step > comm->step ? AHEAD : BEHIND;
    if (peer->place.number != state->number) return peer->place.number > state->number ? AHEAD : BEHIND;
    return ELSEWHERE;
}

/* Lists the ranks whose message has not come and who deserve that suspicion. Returns how many. */
static int list_missing(const ls_comm *comm, suspicion which, char *text, size_t size) {
    const mpi_state *state = comm->state;
    size_t used = 0;
    int count = 0;
    text[0] = '\0';
    for (int r = 0; r < comm->size; r++) {
        if (r == comm->rank || suspect(comm, r) != which) continue;
        if (which != SILENT && state->requests[r] == MPI_REQUEST_NULL) continue;
        int n = snprintf(text + used, size - used, "%s%d", count++ ? ", " : "", r);
        if (n > 0 && (size_t)n < size - used) used += (size_t)n;
    }
    return count;
}

static ls_status stuck(const ls_comm *comm, double waited) {
    static const char *const what[] = {"which is silent", "which has gone on without it",
                                       "which waits in another exchange of that step", "which is behind"};
    char ranks[256];
    for (int which = SILENT; which <= BEHIND; which++) {
        if (list_missing(comm, (suspicion)which, ranks, sizeof ranks) == 0) continue;
        return ls_fail(LS_STUCK, "rank %d has waited %.0f s in step %llu, %s, for rank %s, %s (timeout=%g)", comm->rank,
                       waited, (unsigned long long)comm->step, comm->phase, ranks, what[which], comm->timeout);
    }
    return ls_fail(LS_STUCK, "rank %d has waited %.0f s in step %llu, %s, for its own messages to be taken (timeout=%g)",
                   comm->rank, waited, (unsigned long long)comm->step, comm->phase, comm->timeout);
}

/* When this rank gives up. Higher ranks do so a little later, so that one of them speaks first; and one that only waits
 * for ranks which themselves wait leaves the word to them, as does one that most others are elsewhere from. */
static double deadline(const ls_comm *comm) {
    static const double stagger = 0.25, most = 5, patience = 3;
    char ranks[256];
    int elsewhere = list_missing(comm, ELSEWHERE, ranks, sizeof ranks);
    bool knows = list_missing(comm, SILENT, ranks, sizeof ranks) + list_missing(comm, AHEAD, ranks, sizeof ranks) > 0 ||
                 (elsewhere > 0 && 2 * elsewhere < comm->size);
    double later = stagger * comm->rank < most ? stagger * comm->rank : most;
    return comm->timeout + later + (knows ? 0 : patience);
}

/* MPI's own start and end wait for all ranks too, where nobody can look at a clock: an alarm does. */
static void out_of_time(int number) {
    static const char text[] = "lockstep: error: waited longer than the time-out in MPI_Init or MPI_Finalize: a rank is stuck\n";
    ssize_t told = write(STDERR_FILENO, text, sizeof text - 1);
    (void)told;
    (void)number;
    _exit(LS_STUCK);
}

static void watch(double timeout) {
    static const double most = 1e6;
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(timeout < most ? timeout : most) + 1);
}

static void watch_no_more(void) {
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

/* --- collectives ---------------------------------------------------------------------------------------------------- */

/* Waits for all requests. */
static ls_status complete(ls_comm *comm) {
    enum { SPINS_BETWEEN_CLOCKS = 256, COLLECTIVES_BETWEEN_LISTENING = 256 };
    mpi_state *state = comm->state;
    beats *b = state->beats;
    double begin = ls_clock();
    b->interval = comm->timeout / 8 < 1 ? comm->timeout / 8 : 1;
    b->next = begin + b->interval;
    for (unsigned spins = 1;; spins++) {
        int done = 0;
        LS_MPI(MPI_Testall(2 * comm->size, state->requests, &done, MPI_STATUSES_IGNORE));
        if (done) break;
        /* the other rank may be waiting for this core, whoever else holds it; where nobody is, this costs little */
        if (state->yield || spins > SPINS_BETWEEN_CLOCKS) sched_yield();
        if (spins % SPINS_BETWEEN_CLOCKS != 0) continue;
        double now = ls_clock();
        if (now < b->next) continue;
        LS_TRY(beat(comm));
        b->next = now + b->interval;
        if (now - begin > comm->timeout && now - begin > deadline(comm)) return stuck(comm, now - begin);
    }
    comm->wait_seconds += ls_clock() - begin;
    /* a rank for which the others always wait never listens above */
    return state->number % COLLECTIVES_BETWEEN_LISTENING == 0 ? listen(comm) : LS_OK;
}

/* A collective begins: no requests yet, and a number of its own. */
static void begin(ls_comm *comm) {
    mpi_state *state = comm->state;
    for (int i = 0; i < 2 * comm->size; i++) state->requests[i] = MPI_REQUEST_NULL;
    state->number++;
}

/* Of a message of the collective at hand: 0 .. TAGS - 1, other factors for each part so that neighbours differ. */
static int tag_of(const ls_comm *comm, int bytes) {
    const mpi_state *state = comm->state;
    return (int)((state->number + comm->step * 7919 + (uint64_t)bytes * 104729) % TAGS);
}

static ls_status receive(ls_comm *comm, void *data, int bytes, int source) {
    mpi_state *state = comm->state;
    if (bytes > 0)
        LS_MPI(MPI_Irecv(data, bytes, MPI_BYTE, source, tag_of(comm, bytes), MPI_COMM_WORLD, &state->requests[source]));
    return LS_OK;
}

static ls_status send(ls_comm *comm, const void *data, int bytes, int destination) {
    mpi_state *state = comm->state;
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
    return complete(comm);
}

static ls_status mpi_alltoall(ls_comm *comm, const void *data, const int *send_counts, const int *send_displacements,
                              void *recv, const int *recv_counts, const int *recv_displacements) {
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
    return complete(comm);
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
        LS_TRY(complete(comm));
        at += (size_t)piece;
    }
    return LS_OK;
}

static void mpi_destroy(ls_comm *comm) {
    mpi_state *state = comm->state;
    for (int r = 0; state->beats && r < comm->size; r++)
        if (state->beats->peers[r].send != MPI_REQUEST_NULL) MPI_Request_free(&state->beats->peers[r].send);
    if (state->beats && listen(comm) != LS_OK) ls_log(LS_LOG_WARNING, "%s", ls_error_message());
    if (state->initialised_here) {
        watch(comm->timeout);
        if (MPI_Finalize() != MPI_SUCCESS) ls_log(LS_LOG_WARNING, "MPI_Finalize failed");
        watch_no_more();
    }
    free(state->beats);
    free(state->requests);
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
        watch(comm->timeout);
        LS_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
        watch_no_more();
        state->initialised_here = true;
        if (provided < MPI_THREAD_FUNNELED)
            return ls_fail(LS_INTERNAL, "MPI allows no threads beside the one that calls it (MPI_THREAD_FUNNELED)");
    }
    LS_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LS_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &comm->rank));
    LS_MPI(MPI_Comm_size(MPI_COMM_WORLD, &comm->size));
    LS_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    LS_MPI(MPI_Comm_size(node, &comm->ranks_on_node));
    LS_MPI(MPI_Comm_free(&node));
    LS_TRY(ls_calloc(&state->requests, 2 * (size_t)comm->size, sizeof(MPI_Request), "the communicator"));
    LS_TRY(create_beats(comm, &state->beats));
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
