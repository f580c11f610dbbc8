/* The window's protocol with threads for ranks, in memory of this process, where the thread sanitizer sees
 * every access that is not ordered by it. tests/dist/test_dist.c runs it between processes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "dist/tree_sum.h"
#include "dist/window.h"

enum { MOST_RANKS = 8, NUMBERS = 300 };

typedef struct world {
    int ranks;
    void *memory;
    ls_window_sizes sizes;
    void (*work)(struct world *, ls_comm *, ls_window *);
    bool sleep; /* in the kernel while waiting, else look */
    int64_t elements;
    atomic_int faults; /* cmocka's assertions are for one thread */
} world;

#define EXPECT(w, condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) atomic_fetch_add(&(w)->faults, 1);                                                 \
    } while (0)

/* A wake-up that is missed costs these seconds, which nothing else here comes near. */
static const double long_sleep = 20;

static ls_status wait_by_thread(ls_comm *comm, const ls_wait *wait) {
    const world *w = comm->state;
    double began = ls_clock();
    while (!wait->over(wait->self)) {
        if (w->sleep)
            wait->sleep(wait->self, long_sleep);
        else
            sched_yield();
    }
    return ls_clock() - began < long_sleep / 2 ? LS_OK : ls_fail(LS_STUCK, "slept too long");
}

static ls_status begin_by_thread(ls_comm *comm, ls_channel channel) {
    (void)comm;
    (void)channel;
    return LS_OK;
}

static const ls_comm_class thread_class = {
    .name = "threads", .begin = begin_by_thread, .wait = wait_by_thread};

typedef struct member {
    world *world;
    int rank;
} member;

static void *member_main(void *argument) {
    member *m = argument;
    world *w = m->world;
    ls_comm comm = {.class = &thread_class,
                    .rank = m->rank,
                    .size = w->ranks,
                    .ranks_on_host = w->ranks,
                    .host_rank = m->rank,
                    .hosts = 1,
                    .host_first = (int[]){0, w->ranks},
                    .state = w};
    ls_window *window = NULL;
    EXPECT(w, ls_window_create_in(&comm, &w->sizes, w->memory, &window) == LS_OK);
    w->work(w, &comm, window);
    ls_window_destroy(&window);
    return NULL;
}

static void run_world(world *w) {
    pthread_t threads[MOST_RANKS];
    member members[MOST_RANKS];
    size_t size = ls_window_bytes(w->ranks, &w->sizes);
    assert_int_equal(ls_aligned_alloc(&w->memory, size, "memory"), LS_OK);
    for (int r = 0; r < w->ranks; r++) {
        members[r] = (member){w, r};
        assert_int_equal(pthread_create(&threads[r], NULL, member_main, &members[r]), 0);
    }
    for (int r = 0; r < w->ranks; r++) assert_int_equal(pthread_join(threads[r], NULL), 0);
    free(w->memory);
    assert_int_equal(atomic_load(&w->faults), 0);
}

/* --- exchanges ---------------------------------------------------------------------------------------- */

static int64_t number(int round, int rank, int64_t i) {
    return (int64_t)round * 1000003 + rank * 1009 + i;
}

/* In turn: everybody reads what everybody has written, into the messages and the segments; everybody writes a
 * piece of the common region, and all read all of it. */
static void exchange_often(world *w, ls_comm *comm, ls_window *window) {
    enum { ROUNDS = 60 };
    int rank = comm->rank, size = comm->size;
    int64_t *own = ls_window_segment(window, rank), *common = ls_window_common(window);
    EXPECT(w, (uintptr_t)own % 64 == 0 && (uintptr_t)common % 64 == 0 &&
                  (uintptr_t)ls_window_outgoing(window) % 64 == 0);
    EXPECT(w, ls_window_capacity(window) >= w->sizes.message);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % size == rank) sched_yield();
        int64_t *message = ls_window_outgoing(window);
        for (int64_t i = 0; i < 3; i++) message[i] = number(round, rank, i);
        for (int64_t i = 0; i < NUMBERS; i++) own[i] = number(round, rank, 10 + i);
        EXPECT(w, ls_window_exchange(window) == LS_OK);
        for (int r = 0; r < size; r++) {
            const int64_t *theirs = ls_window_incoming(window, r), *segment = ls_window_segment(window, r);
            for (int64_t i = 0; i < 3; i++) EXPECT(w, theirs[i] == number(round, r, i));
            for (int64_t i = 0; i < NUMBERS; i++) EXPECT(w, segment[i] == number(round, r, 10 + i));
        }
        for (int64_t i = rank; i < NUMBERS; i += size) common[i] = number(round, 0, i);
        message = ls_window_outgoing(window);
        message[0] = -round - rank;
        EXPECT(w, ls_window_exchange(window) == LS_OK);
        for (int64_t i = 0; i < NUMBERS; i++) EXPECT(w, common[i] == number(round, 0, i));
        for (int r = 0; r < size; r++)
            EXPECT(w, *(const int64_t *)ls_window_incoming(window, r) == -round - r);
    }
}

static void test_exchanges(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++)
        for (int sleep = 0; sleep < 2; sleep++)
            run_world(
                &(world){.ranks = ranks,
                         .sizes = {3 * sizeof(int64_t), NUMBERS * sizeof(int64_t), NUMBERS * sizeof(int64_t)},
                         .work = exchange_often,
                         .sleep = sleep});
}

/* --- a sum and an update as a step has them ----------------------------------------------------------- */

/* Small whole numbers, whose sums are exact: here it is the order of the ranks that is tested, not that of
 * the additions. */
static void sum_and_update(world *w, ls_comm *comm, ls_window *window) {
    enum { STEPS = 12, SHARDS = 16, TAIL = 5 };
    ls_tree_sum_sizes sizes = {
        .doubles = TAIL, .summed = w->elements, .total = w->elements + 20, .dtype = LS_FP32};
    ls_shards shards;
    ls_team *team = NULL;
    ls_tree_sum *sum = NULL;
    float *gradient = ls_window_segment(window, comm->rank), *reduced = ls_window_common(window);
    float *value = reduced + ls_tree_sum_arena(&sizes) / sizeof *value;
    EXPECT(w, ls_shards_create(&shards, SHARDS, comm->rank, comm->size, SHARDS) == LS_OK);
    EXPECT(w, ls_team_create(2, &team) == LS_OK);
    EXPECT(w, ls_tree_sum_create(comm, window, &shards, team, &sizes, &sum) == LS_OK);
    for (int step = 0; step < STEPS; step++) {
        double tail_nodes[LS_MAX_NODES * TAIL], tail[TAIL];
        const ls_slice slice = ls_tree_sum_slice(sum);
        int64_t lowest;
        for (int64_t i = 0; i < shards.node_count * w->elements + 20; i++)
            gradient[i] = (float)((i % w->elements) % 100 + step);
        for (int i = 0; i < shards.node_count * TAIL; i++) tail_nodes[i] = step;
        EXPECT(w,
               ls_tree_sum_totals(sum, &(ls_partial){tail_nodes, tail, TAIL, NULL, NULL}, 1, NULL) == LS_OK);
        EXPECT(w, ls_tree_sum_gradient(sum, gradient, reduced) == LS_OK);
        int nodes = 0;
        for (int r = 0; r < comm->size; r++) {
            int first = r * SHARDS / comm->size, last = (r + 1) * SHARDS / comm->size;
            ls_node own[LS_MAX_NODES];
            nodes += ls_shards_nodes(SHARDS, first, last - first, own);
        }
        for (int i = 0; i < TAIL; i++) EXPECT(w, tail[i] == (double)(nodes * step));
        EXPECT(w, ls_tree_sum_lowest(sum, comm->rank + step, &lowest) == LS_OK && lowest == step);
        for (int64_t i = slice.first; i < slice.last; i++) {
            if (i < w->elements) EXPECT(w, reduced[i] == (float)(nodes * (i % 100 + step)));
            value[i] += (float)i + 1;
        }
        EXPECT(w, ls_tree_sum_updated(sum) == LS_OK);
        for (int64_t i = 0; i < sizes.total; i++) EXPECT(w, value[i] == (float)((step + 1) * (i + 1)));
    }
    ls_tree_sum_destroy(&sum);
    ls_team_destroy(&team);
}

static void test_steps(void **state) {
    (void)state;
    static const int64_t elements[] = {40, 5000};
    static const int ranks[] = {2, 3, 5, 8};
    for (int e = 0; e < 2; e++)
        for (int n = 0; n < 4; n++) {
            ls_tree_sum_sizes sizes = {
                .doubles = 5, .summed = elements[e], .total = elements[e] + 20, .dtype = LS_FP32};
            run_world(&(world){
                .ranks = ranks[n],
                .sizes = {512, ls_tree_sum_segment(16, ranks[n], &sizes), 2 * ls_tree_sum_arena(&sizes)},
                .work = sum_and_update,
                .sleep = n % 2,
                .elements = elements[e]});
        }
}

/* --- who is missing ----------------------------------------------------------------------------------- */

static int missing; /* the rank that the next two comms wait for in vain */

static ls_status look_once(ls_comm *comm, const ls_wait *wait) {
    assert_false(wait->over(wait->self));
    for (int r = 0; r < comm->size; r++) assert_int_equal(wait->arrived(wait->self, r), r < missing);
    double began = ls_clock();
    wait->sleep(wait->self, 0.05); /* nobody wakes it: it comes back by itself */
    assert_true(ls_clock() - began > 0.03);
    return LS_OK;
}

static ls_status look_at_all(ls_comm *comm, const ls_wait *wait) {
    assert_true(wait->over(wait->self));
    for (int r = 0; r < comm->size; r++) assert_true(wait->arrived(wait->self, r));
    return LS_OK;
}

/* One thread plays the ranks of three, one after the other. */
static void test_missing(void **state) {
    (void)state;
    static const ls_comm_class in_vain = {.begin = begin_by_thread, .wait = look_once},
                               at_last = {.begin = begin_by_thread, .wait = look_at_all};
    static const int first[] = {0, 3};
    ls_window_sizes sizes = {8, 8, 8};
    ls_comm comms[3];
    ls_window *windows[3];
    void *memory;
    assert_int_equal(ls_aligned_alloc(&memory, ls_window_bytes(3, &sizes), "memory"), LS_OK);
    for (int r = 0; r < 3; r++) {
        comms[r] = (ls_comm){.class = r < 2 ? &in_vain : &at_last,
                             .rank = r,
                             .size = 3,
                             .ranks_on_host = 3,
                             .host_rank = r,
                             .hosts = 1,
                             .host_first = first};
        assert_int_equal(ls_window_create_in(&comms[r], &sizes, memory, &windows[r]), LS_OK);
    }
    for (int round = 0; round < 3; round++)
        for (int r = 0; r < 3; r++) {
            missing = r + 1;
            assert_int_equal(ls_window_exchange(windows[r]), LS_OK);
        }
    for (int r = 0; r < 3; r++) ls_window_destroy(&windows[r]);
    free(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanges),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
