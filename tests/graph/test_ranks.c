/* Any number of ranks gives the same bits: ranks are threads here, and what they would send goes through
 * memory. Their sums are added by a recursion over the complete binary tree that shares nothing with the
 * library. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/replica.h"

enum { SHARDS = 16, STEPS = 3, MOST_RANKS = 16 };

typedef struct world world;

typedef struct rank {
    world *world;
    int index;
    pthread_t thread;
    replica replica;
    const ls_partial *partials; /* of the reduction at hand */
    int partial_count;
    ls_status status;
} rank;

struct world {
    int size;
    bool eager;
    const int64_t *batches;
    uint32_t step;
    pthread_barrier_t barrier;
    rank ranks[MOST_RANKS];
};

/* --- the tree
 * ----------------------------------------------------------------------------------------------------- */

/* Which rank has the sum of shards [first, first + count) as one of its nodes: its node's index, or -1. */
static int find_node(const world *w, int first, int count, int *owner) {
    for (*owner = 0; *owner < w->size; (*owner)++) {
        const ls_shards *shards = &w->ranks[*owner].replica.shards;
        for (int n = 0; n < shards->node_count; n++)
            if (shards->node[n].first == first && shards->node[n].count == count) return n;
    }
    return -1;
}

/* What the tree adds: elements of one vector that every rank has for each of its nodes. */
typedef double (*node_value)(const rank *owner, int node, int64_t element, int which);

/* The sum over shards [first, first + count): two halves added in that order, down to the nodes that ranks
 * have. */
static double tree_sum(const world *w, int first, int count, bool fp32, node_value value, int64_t element,
                       int which) {
    int owner, node = find_node(w, first, count, &owner);
    if (node >= 0) return value(&w->ranks[owner], node, element, which);
    if (count == 1) abort(); /* a shard that no rank has */
    double left = tree_sum(w, first, count / 2, fp32, value, element, which);
    double right = tree_sum(w, first + count / 2, count / 2, fp32, value, element, which);
    return fp32 ? (double)((float)left + (float)right) : left + right;
}

static double partial_value(const rank *owner, int node, int64_t element, int which) {
    const ls_partial *partial = &owner->partials[which];
    return partial->nodes[node * partial->length + element];
}

static double loss_value(const rank *owner, int node, int64_t element, int which) {
    const ls_op *loss = replica_loss(&owner->replica);
    (void)which;
    return loss->nodes[node * loss->sum_length + element];
}

static double gradient_value(const rank *owner, int node, int64_t element, int which) {
    const ls_parameters *p = &owner->replica.network->parameters;
    int64_t at = node * p->summed + element;
    (void)which;
    return p->backend->dtype == LS_FP64 ? ((const double *)p->gradient)[at]
                                        : (double)((const float *)p->gradient)[at];
}

/* --- ranks
 * -------------------------------------------------------------------------------------------------------- */

static ls_status reduce(void *self, const ls_partial *partials, int count) {
    rank *me = self;
    world *w = me->world;
    me->partials = partials;
    me->partial_count = count;
    pthread_barrier_wait(&w->barrier);
    for (int r = 0; r < w->size; r++)
        if (w->ranks[r].partial_count != count)
            abort(); /* ranks that sum different things would hang for ever */
    for (int i = 0; i < count; i++)
        for (int64_t e = 0; e < partials[i].length; e++)
            partials[i].out[e] = tree_sum(w, 0, SHARDS, false, partial_value, e, i);
    pthread_barrier_wait(&w->barrier); /* nobody goes on while others still read his nodes */
    return LS_OK;
}

static void *run_rank(void *argument) {
    rank *me = argument;
    const world *w = me->world;
    me->status = w->eager ? replica_try_run_eager(&me->replica, LS_TRAINING, w->batches[w->step], w->step)
                          : replica_try_run(&me->replica, w->batches[w->step], w->step);
    return NULL;
}

static void world_create(world *w, const network_case *network, ls_dtype dtype, int size, bool eager,
                         const int64_t *batches) {
    *w = (world){.size = size, .eager = eager, .batches = batches};
    assert_int_equal(pthread_barrier_init(&w->barrier, NULL, (unsigned)size), 0);
    for (int r = 0; r < size; r++) {
        rank *me = &w->ranks[r];
        me->world = w;
        me->index = r;
        replica_create(&me->replica, network, cpu_backend(dtype), SHARDS, r, size, batches[0]);
        me->replica.reducer = (ls_reducer){reduce, me};
        if (!eager) replica_plan(&me->replica, LS_TRAINING, true, 1 + r % 2);
    }
}

static void world_destroy(world *w) {
    for (int r = 0; r < w->size; r++) replica_destroy(&w->ranks[r].replica);
    pthread_barrier_destroy(&w->barrier);
}

static void world_step(world *w, uint32_t step) {
    w->step = step;
    for (int r = 0; r < w->size; r++)
        assert_int_equal(pthread_create(&w->ranks[r].thread, NULL, run_rank, &w->ranks[r]), 0);
    for (int r = 0; r < w->size; r++) pthread_join(w->ranks[r].thread, NULL);
    for (int r = 0; r < w->size; r++) assert_int_equal(w->ranks[r].status, LS_OK);
}

/* The outcome as one rank would have it: sums over all nodes, and rank r's own copy of what each rank has
 * whole. */
static outcome world_outcome(const world *w, int r) {
    const replica *own = &w->ranks[r].replica;
    const ls_parameters *p = &own->network->parameters;
    size_t element = ls_dtype_size(p->backend->dtype);
    bool fp32 = p->backend->dtype == LS_FP32;
    outcome o = replica_outcome(own);
    for (int i = 0; i < 2; i++) o.loss[i] = tree_sum(w, 0, SHARDS, false, loss_value, i, 0);
    for (int64_t i = 0; i < p->summed; i++) {
        double sum = tree_sum(w, 0, SHARDS, fp32, gradient_value, i, 0);
        if (fp32)
            ((float *)(void *)o.gradient)[i] = (float)sum;
        else
            ((double *)(void *)o.gradient)[i] = sum;
    }
    const char *own_region = (const char *)p->gradient + (size_t)(p->nodes * p->summed) * element;
    memcpy(o.gradient + (size_t)p->summed * element, own_region, (size_t)(p->total - p->summed) * element);
    return o;
}

/* --- cases
 * -------------------------------------------------------------------------------------------------------- */

static const int sizes[] = {1, 2, 3, 5, 8, 16};
static const int64_t batches[][STEPS] = {{33, 18, 33}, {5, 3, 5}};

static void check_case(const network_case *network, ls_dtype dtype, const int64_t *batch, bool eager) {
    outcome want[STEPS];
    replica single;
    replica_create(&single, network, cpu_backend(dtype), SHARDS, 0, 1, batch[0]);
    for (uint32_t step = 0; step < STEPS; step++) {
        replica_run_eager(&single, LS_TRAINING, batch[step], step);
        want[step] = replica_outcome(&single);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world w;
        world_create(&w, network, dtype, sizes[i], eager, batch);
        for (uint32_t step = 0; step < STEPS; step++) {
            world_step(&w, step);
            for (int r = 0; r<w.size; r += w.size> 1 ? w.size - 1 : 1) {
                char what[256];
                snprintf(what, sizeof what, "%s, fp%d, rank %d of %d, step %u of %lld, %s", network->name,
                         dtype == LS_FP64 ? 64 : 32, r, w.size, (unsigned)step, (long long)batch[step],
                         eager ? "eager" : "planned");
                outcome got = world_outcome(&w, r);
                expect_same_outcome(what, &single, &got, &want[step]);
                outcome_free(&got);
            }
        }
        world_destroy(&w);
    }
    for (int step = 0; step < STEPS; step++) outcome_free(&want[step]);
    replica_destroy(&single);
}

static void test_planned(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++)
        for (int b = 0; b < 2; b++) check_case(&network_cases[i], LS_FP32, batches[b], false);
}

static void test_planned_fp64(void **state) {
    (void)state;
    check_case(network_case_named("mlp"), LS_FP64, batches[0], false);
    check_case(network_case_named("conv"), LS_FP64, batches[1], false);
}

static void test_eager(void **state) {
    (void)state;
    check_case(network_case_named("mlp"), LS_FP32, batches[0], true);
    check_case(network_case_named("mlp"), LS_FP32, batches[1], true);
    check_case(network_case_named("conv"), LS_FP32, batches[1], true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned),
        cmocka_unit_test(test_planned_fp64),
        cmocka_unit_test(test_eager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
