#include "bench/pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"

/* What one rank has at hand. */
typedef struct trip {
    ls_comm *comm;
    int first, second; /* ranks */
    char *data;        /* [LS_PAIR_BYTES] */
    double *seconds;   /* [repeats] */
} trip;

/* The time of day, which hosts may not agree on. */
static ls_status time_of_day(double *seconds) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return ls_fail(LS_INTERNAL, "the clock cannot be read: %s", strerror(errno));
    *seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    return LS_OK;
}

/* One way; ranks that are neither of the two only take part in the counting. */
static ls_status pass(const trip *t, int from, int to, size_t bytes) {
    ls_comm *comm = t->comm;
    LS_TRY(comm->class->begin(comm, LS_AT_HAND));
    if (comm->rank == from) LS_TRY(comm->class->send(comm, LS_AT_HAND, t->data, bytes, to));
    if (comm->rank == to) LS_TRY(comm->class->receive(comm, LS_AT_HAND, t->data, bytes, from));
    return comm->class->complete(comm, LS_AT_HAND);
}

/* There and back, as the first rank sees it; the second sends the time of day. */
static ls_status go_round(const trip *t, size_t bytes, double *seconds, double *clock) {
    double left = 0, back = 0, there = 0;
    const double begin = ls_clock();
    LS_TRY(time_of_day(&left));
    LS_TRY(pass(t, t->first, t->second, bytes));
    if (t->comm->rank == t->second) {
        LS_TRY(time_of_day(&there));
        memcpy(t->data, &there, sizeof there);
    }
    LS_TRY(pass(t, t->second, t->first, bytes));
    *seconds = (ls_clock() - begin) / 2;
    LS_TRY(time_of_day(&back));
    memcpy(&there, t->data, sizeof there);
    *clock = there - (left + back) / 2;
    return LS_OK;
}

/* The shortest way says most of the clocks. */
static ls_status repeat(const trip *t, size_t bytes, int64_t repeats, ls_spread *spread, double *clock) {
    double least = 0, first, difference;
    LS_TRY(go_round(t, bytes, &first, &difference)); /* MPI connects */
    for (int64_t i = 0; i < repeats; i++) {
        LS_TRY(go_round(t, bytes, &t->seconds[i], &difference));
        if (i == 0 || t->seconds[i] < least) {
            least = t->seconds[i];
            *clock = difference;
        }
    }
    *spread = ls_spread_of(t->seconds, repeats);
    return LS_OK;
}

static ls_status time_pair(trip *t, int64_t repeats, ls_pair *pair) {
    double ignored;
    t->first = t->comm->host_first[pair->host];
    t->second = t->comm->host_first[pair->other];
    LS_TRY(ls_comm_agree(t->comm, LS_OK)); /* nobody is still busy */
    LS_TRY(repeat(t, sizeof(double), repeats, &pair->latency, &pair->clock));
    LS_TRY(repeat(t, LS_PAIR_BYTES, repeats, &pair->seconds, &ignored));
    return ls_comm_broadcast(t->comm, pair, sizeof *pair, t->first);
}

ls_status ls_time_pairs(ls_comm *comm, int64_t repeats, ls_pair **pairs, int *count) {
    trip t = {.comm = comm};
    *pairs = NULL;
    *count = 0;
    if (comm->hosts == 1) return LS_OK;
    comm->phase = "timing messages";
    ls_status status =
        ls_calloc(pairs, (size_t)(comm->hosts * (comm->hosts - 1) / 2), sizeof **pairs, "the times");
    if (status == LS_OK) status = ls_calloc(&t.data, LS_PAIR_BYTES, 1, "a message");
    if (status == LS_OK) status = ls_calloc(&t.seconds, (size_t)repeats, sizeof *t.seconds, "the times");
    status = ls_comm_agree(comm, status);
    for (int a = 0; a < comm->hosts; a++)
        for (int b = a + 1; status == LS_OK && b < comm->hosts; b++) {
            ls_pair *pair = &(*pairs)[(*count)++];
            pair->host = a;
            pair->other = b;
            status = time_pair(&t, repeats, pair);
        }
    free(t.data);
    free(t.seconds);
    return status;
}
