/* Waiting: by looking again and again, so that a rank can give its processor away where there are more ranks
 * than cores, and so that waiting has a deadline and the rank that does not come is named. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/log.h"
#include "dist/comm_mpi.h"

/* --- who is stuck ------------------------------------------------------------------------------------- */

/* A rank that has waited a while tells all others, about once a second, that it is alive and in which
 * collective it waits. So the one that is stopped, or computes for ever, is the one that is silent; and one
 * that skipped a collective is ahead of those that wait for it. Where nobody waits long, nothing is sent. */
struct ls_beats {
    double interval, next; /* seconds */
    struct place {
        uint64_t step, number; /* of the collective */
    } sent;                    /* what the messages under way say */
    struct peer {
        MPI_Request send;
        double heard;       /* when, by ls_clock(); 0: never */
        struct place place; /* where it waited */
    } peers[];
};

ls_status ls_mpi_beats_create(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    size_t size = sizeof(struct ls_beats) + (size_t)comm->size * sizeof(struct peer);
    LS_TRY(ls_calloc(&state->beats, 1, size, "the communicator"));
    for (int r = 0; r < comm->size; r++) state->beats->peers[r].send = MPI_REQUEST_NULL;
    return LS_OK;
}

/* Takes in what the others have said. */
static ls_status listen(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    const MPI_Comm all = state->channels[LS_AT_HAND].comm;
    for (;;) {
        int there = 0;
        struct place place;
        MPI_Status status;
        LS_MPI(MPI_Iprobe(MPI_ANY_SOURCE, LS_MPI_TAGS, all, &there, &status));
        if (!there) return LS_OK;
        LS_MPI(MPI_Recv(&place, (int)sizeof place, MPI_BYTE, status.MPI_SOURCE, LS_MPI_TAGS, all,
                        MPI_STATUS_IGNORE));
        state->beats->peers[status.MPI_SOURCE].heard = ls_clock();
        state->beats->peers[status.MPI_SOURCE].place = place;
    }
}

void ls_mpi_beats_destroy(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    if (!state->beats) return;
    for (int r = 0; r < comm->size; r++)
        if (state->beats->peers[r].send != MPI_REQUEST_NULL) MPI_Request_free(&state->beats->peers[r].send);
    if (listen(comm) != LS_OK) ls_log(LS_LOG_WARNING, "%s", ls_error_message());
    free(state->beats);
    state->beats = NULL;
}

/* Tells the others; one whose last message is still under way gets none. */
static ls_status beat(ls_comm *comm) {
    ls_mpi_state *state = comm->state;
    struct ls_beats *b = state->beats;
    bool idle = true;
    for (int r = 0; r < comm->size; r++) {
        int done = 0;
        LS_MPI(MPI_Test(&b->peers[r].send, &done, MPI_STATUS_IGNORE));
        idle = idle && done;
    }
    if (idle) b->sent = (struct place){comm->step, state->channels[LS_AT_HAND].number};
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank && b->peers[r].send == MPI_REQUEST_NULL)
            LS_MPI(MPI_Isend(&b->sent, (int)sizeof b->sent, MPI_BYTE, r, LS_MPI_TAGS,
                             state->channels[LS_AT_HAND].comm, &b->peers[r].send));
    return listen(comm);
}

typedef enum suspicion { SILENT, AHEAD, ELSEWHERE, BEHIND } suspicion;

/* One that has not been heard for longer than so many beats is silent. */
enum { SILENT_BEATS = 3 };

static suspicion suspect(const ls_comm *comm, int r) {
    const ls_mpi_state *state = comm->state;
    const struct peer *peer = &state->beats->peers[r];
    const unsigned number = state->channels[LS_AT_HAND].number;
    if (peer->heard == 0 || ls_clock() - peer->heard > SILENT_BEATS * state->beats->interval) return SILENT;
    if (peer->place.step != comm->step) return peer->place.step > comm->step ? AHEAD : BEHIND;
    if (peer->place.number != number) return peer->place.number > number ? AHEAD : BEHIND;
    return ELSEWHERE;
}

static bool is_missing(const ls_mpi_state *state, int r) {
    const ls_mpi_channel *channel = &state->channels[state->waited_for];
    if (state->wait) return !state->wait->arrived(state->wait->self, r);
    for (int i = 0; i < channel->count; i++)
        if (channel->source[i] == r && channel->requests[i] != MPI_REQUEST_NULL) return true;
    return false;
}

/* Text that is cut off where there is no room. */
typedef struct text {
    char *at;
    size_t room;
} text;

__attribute__((format(printf, 2, 3))) static void put(text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(t->at, t->room, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= t->room) return;
    t->at += n;
    t->room -= (size_t)n;
}

/* Lists the ranks whose message has not come and who deserve that suspicion, with their hosts if there are
 * several. Returns how many. */
static int list_missing(const ls_comm *comm, suspicion which, char *out, size_t size) {
    const ls_mpi_state *state = comm->state;
    text t = {out, size};
    int count = 0;
    out[0] = '\0';
    for (int host = 0; host < comm->hosts; host++) {
        const int before = count;
        for (int r = comm->host_first[host]; r < comm->host_first[host + 1]; r++) {
            if (r == comm->rank || suspect(comm, r) != which) continue;
            if (which != SILENT && !is_missing(state, r)) continue;
            put(&t, "%s%d", count++ ? ", " : "", r);
        }
        if (count > before && comm->host_name) put(&t, " of host %s", comm->host_name[host]);
    }
    return count;
}

static ls_status stuck(const ls_comm *comm, double waited) {
    static const char *const what[] = {"which is silent", "which has gone on without it",
                                       "which waits in another exchange of that step", "which is behind"};
    char ranks[256];
    for (int which = SILENT; which <= BEHIND; which++) {
        if (list_missing(comm, (suspicion)which, ranks, sizeof ranks) == 0) continue;
        return ls_fail(LS_STUCK, "rank %d has waited %.1f s in step %llu, %s, for rank %s, %s (timeout=%g)",
                       comm->rank, waited, (unsigned long long)comm->step, comm->phase, ranks, what[which],
                       comm->timeout);
    }
    return ls_fail(
        LS_STUCK, "rank %d has waited %.1f s in step %llu, %s, for its own messages to be taken (timeout=%g)",
        comm->rank, waited, (unsigned long long)comm->step, comm->phase, comm->timeout);
}

/* When this rank gives up. Higher ranks do so a little later, so that one of them speaks first; and one that
 * only waits for ranks which themselves wait leaves the word to them, as does one that most others are
 * elsewhere from. */
static double deadline(const ls_comm *comm) {
    static const double stagger = 0.25, most = 5, patience = 3;
    char ranks[256];
    int elsewhere = list_missing(comm, ELSEWHERE, ranks, sizeof ranks);
    bool knows =
        list_missing(comm, SILENT, ranks, sizeof ranks) + list_missing(comm, AHEAD, ranks, sizeof ranks) >
            0 ||
        (elsewhere > 0 && 2 * elsewhere < comm->size);
    double later = stagger * comm->rank < most ? stagger * comm->rank : most;
    return comm->timeout + later + (knows ? 0 : patience);
}

/* --- waiting ------------------------------------------------------------------------------------------ */

/* MPI moves messages that are under way meanwhile when it is asked for them. */
static ls_status advance(ls_mpi_state *state) {
    const ls_mpi_channel *channel = &state->channels[LS_MEANWHILE];
    int done;
    LS_MPI(MPI_Testall(channel->count, channel->requests, &done, MPI_STATUSES_IGNORE));
    return LS_OK;
}

static ls_status look(const ls_comm *comm, bool *over) {
    ls_mpi_state *state = comm->state;
    int done = 0;
    if (state->waited_for == LS_AT_HAND && state->channels[LS_MEANWHILE].count > 0) LS_TRY(advance(state));
    if (state->wait) {
        *over = state->wait->over(state->wait->self);
        return LS_OK;
    }
    ls_mpi_channel *channel = &state->channels[state->waited_for];
    LS_MPI(MPI_Testall(channel->count, channel->requests, &done, MPI_STATUSES_IGNORE));
    *over = done;
    if (done) channel->count = 0;
    return LS_OK;
}

/* Between two looks, the `looks`-th of which was in vain. Where nobody else wants this core, looking costs
 * little; the rank that is waited for may want it, whoever else holds it. Returns whether time may have
 * passed: who gives its core away on a busy machine gets it back much later. */
static bool pause_between(const ls_mpi_state *state, unsigned looks) {
    enum { LOOKS_BEFORE_YIELDING = 256, LOOKS_BEFORE_SLEEPING = 4096 };
    if (state->wait && (state->yield || looks > LOOKS_BEFORE_SLEEPING)) {
        static const double nap = 2e-4; /* where there is something to move */
        double left = state->beats->next - ls_clock();
        if (state->channels[LS_MEANWHILE].count > 0 && left > nap) left = nap;
        if (left > 0) state->wait->sleep(state->wait->self, left);
        return true;
    }
    if (!state->yield && looks <= LOOKS_BEFORE_YIELDING) return false;
    sched_yield();
    return true;
}

/* How long this rank has waited, in time in which it ran itself. */
typedef struct patience {
    double looked;  /* last, by ls_clock() */
    double waited;  /* seconds */
    double listens; /* since when without a pause */
} patience;

/* Between two looks lies at most a beat, unless this rank has not run: stopped, or its container or machine
 * was, and the others perhaps with it. What it has missed is no fault of theirs, and what it has heard of
 * them is old: it does not count that time, and listens for a full round of beats before it names anybody. */
static void look_at_clock(patience *p, double interval) {
    double now = ls_clock(), passed = now - p->looked;
    if (passed > 2 * interval) p->listens = now;
    p->waited += passed < interval ? passed : interval;
    p->looked = now;
}

static bool is_out_of_patience(const ls_comm *comm, const patience *p) {
    const ls_mpi_state *state = comm->state;
    return p->waited > comm->timeout &&
           p->looked - p->listens > (SILENT_BEATS + 1) * state->beats->interval && p->waited > deadline(comm);
}

/* Waits for state->wait, or for all requests. */
static ls_status wait_patiently(ls_comm *comm) {
    enum { COLLECTIVES_BETWEEN_LISTENING = 256 };
    ls_mpi_state *state = comm->state;
    struct ls_beats *b = state->beats;
    const double begin = ls_clock();
    patience p = {.looked = begin, .listens = begin};
    b->interval = comm->timeout / 8 < 1 ? comm->timeout / 8 : 1;
    b->next = begin + b->interval;
    for (unsigned looks = 1;; looks++) {
        bool over = false;
        LS_TRY(look(comm, &over));
        if (over) break;
        if (!pause_between(state, looks)) continue;
        if (comm->on_wait) comm->on_wait(comm->on_wait_self);
        look_at_clock(&p, b->interval);
        if (p.looked < b->next) continue;
        LS_TRY(beat(comm));
        b->next = p.looked + b->interval;
        if (is_out_of_patience(comm, &p)) return stuck(comm, p.waited);
    }
    comm->wait_seconds += ls_clock() - begin;
    /* a rank for which the others always wait never listens above */
    const unsigned number = state->channels[LS_AT_HAND].number;
    return number % COLLECTIVES_BETWEEN_LISTENING == 0 ? listen(comm) : LS_OK;
}

ls_status ls_mpi_complete(ls_comm *comm, ls_channel channel) {
    ls_mpi_state *state = comm->state;
    state->waited_for = channel;
    return wait_patiently(comm);
}

ls_status ls_mpi_wait(ls_comm *comm, const ls_wait *wait) {
    ls_mpi_state *state = comm->state;
    state->waited_for = LS_AT_HAND;
    state->wait = wait;
    ls_status status = wait_patiently(comm);
    state->wait = NULL;
    return status;
}
