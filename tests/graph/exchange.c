#include "graph/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct summand {
    const exchange *exchange;
    bool fp32;
    exchange_value value;
    const void *argument;
    int64_t element;
} summand;

/* Which rank has the sum of shards [first, first + count) as one of its nodes: its node's index, or -1. */
static int find_node(const exchange *e, int first, int count, int *owner) {
    for (*owner = 0; *owner < e->size; (*owner)++) {
        const ls_shards *shards = e->members[*owner].shards;
        for (int n = 0; n < shards->node_count; n++)
            if (shards->node[n].first == first && shards->node[n].count == count) return n;
    }
    return -1;
}

static double tree_sum(const summand *s, int first, int count) {
    int owner, node = find_node(s->exchange, first, count, &owner);
    if (node >= 0) return s->value(s->argument, owner, node, s->element);
    if (count == 1) abort(); /* a shard that no rank has */
    double left = tree_sum(s, first, count / 2), right = tree_sum(s, first + count / 2, count / 2);
    return s->fp32 ? (double)((float)left + (float)right) : left + right;
}

double exchange_sum(const exchange *e, bool fp32, exchange_value value, const void *argument,
                    int64_t element) {
    summand s = {e, fp32, value, argument, element};
    return tree_sum(&s, 0, e->members[0].shards->total);
}

typedef struct reduction {
    const exchange *exchange;
    int which;
    int64_t length;
} reduction;

static double partial_value(const void *argument, int rank, int node, int64_t element) {
    const reduction *r = argument;
    return r->exchange->members[rank].nodes[r->which][node * r->length + element];
}

static ls_status reduce(void *self, const ls_partial *partials, int count, const ls_lane *lane) {
    exchange_member *me = self;
    const int own = me->shards->node_count;
    if (count > EXCHANGE_PARTIALS) abort();
    for (int i = 0; i < count; i++) {
        me->nodes[i] = calloc((size_t)(own * partials[i].length), sizeof(double));
        if (!me->nodes[i]) abort();
        ls_partial_nodes(&partials[i], own, me->nodes[i], partials[i].length, lane);
    }
    exchange *e = me->exchange;
    me->count = count;
    pthread_barrier_wait(&e->barrier);
    for (int r = 0; r < e->size; r++)
        if (e->members[r].count != count) abort();
    for (int i = 0; i < count; i++) {
        reduction r = {e, i, partials[i].length};
        for (int64_t k = 0; k < partials[i].length; k++)
            partials[i].out[k] = exchange_sum(e, false, partial_value, &r, k);
    }
    pthread_barrier_wait(&e->barrier); /* nobody goes on while others still read his nodes */
    for (int i = 0; i < count; i++) free(me->nodes[i]);
    return LS_OK;
}

void exchange_create(exchange *e, int size, const ls_shards *const *shards) {
    *e = (exchange){.size = size};
    assert_in_range(size, 1, EXCHANGE_RANKS);
    assert_int_equal(pthread_barrier_init(&e->barrier, NULL, (unsigned)size), 0);
    for (int r = 0; r < size; r++) e->members[r] = (exchange_member){.exchange = e, .shards = shards[r]};
}

void exchange_destroy(exchange *e) {
    pthread_barrier_destroy(&e->barrier);
}

ls_reducer exchange_reducer(exchange *e, int rank) {
    return (ls_reducer){reduce, &e->members[rank]};
}

typedef struct job {
    ls_status (*work)(void *argument, int rank);
    void *argument;
    int rank;
    ls_status status;
    char message[512]; /* of this thread's failure */
} job;

static void *run_job(void *argument) {
    job *j = argument;
    j->status = j->work(j->argument, j->rank);
    if (j->status != LS_OK) snprintf(j->message, sizeof j->message, "%s", ls_error_message());
    return NULL;
}

void exchange_run(const exchange *e, ls_status (*work)(void *argument, int rank), void *argument) {
    pthread_t threads[EXCHANGE_RANKS];
    job jobs[EXCHANGE_RANKS];
    for (int r = 0; r < e->size; r++) {
        jobs[r] = (job){.work = work, .argument = argument, .rank = r, .status = LS_INTERNAL};
        assert_int_equal(pthread_create(&threads[r], NULL, run_job, &jobs[r]), 0);
    }
    for (int r = 0; r < e->size; r++) pthread_join(threads[r], NULL);
    for (int r = 0; r < e->size; r++)
        if (jobs[r].status != LS_OK) fail_msg("rank %d of %d: %s", r, e->size, jobs[r].message);
}
