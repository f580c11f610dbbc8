/* Claims: every piece is taken by one worker, whoever comes when; each begins with its own from the first one
 * on, and who has none left is given others'. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/work_queue.h"

enum { MOST = 8, PIECES = 5000, ROUNDS = 40 };

typedef struct world {
    ls_work_queue *queue;
    int workers;
    atomic_int taken[PIECES];
    pthread_barrier_t barrier;
    int64_t share[MOST + 1]; /* worker w begins with [share[w], share[w + 1]) */
} world;

typedef struct worker {
    world *world;
    int index;
    int64_t taken, stolen;
} worker;

static void world_create(world *w, int workers) {
    w->workers = workers;
    w->queue = aligned_alloc(64, ls_work_queue_bytes(workers));
    assert_non_null(w->queue);
    memset(w->queue, 0xff, ls_work_queue_bytes(workers));
}

static void give(const world *w, int who) {
    ls_work_queue_give(w->queue, who, w->share[who], w->share[who + 1]);
}

static void take_all(worker *me) {
    world *w = me->world;
    int64_t first, last;
    while (ls_work_queue_take(w->queue, w->workers, me->index, &first, &last)) {
        for (int64_t i = first; i < last; i++) atomic_fetch_add(&w->taken[i], 1);
        me->taken += last - first;
        if (first < w->share[me->index] || first >= w->share[me->index + 1]) me->stolen += last - first;
    }
}

/* By one worker after the other: the first does all. */
static void test_alone(void **state) {
    static world w;
    (void)state;
    world_create(&w, 3);
    const int64_t share[] = {0, 100, 100, 130};
    memcpy(w.share, share, sizeof share);
    for (int i = 0; i < 3; i++) give(&w, i);
    int64_t first, last, next = 0;
    while (next < 100) { /* its own, in order, less and less at a time */
        assert_true(ls_work_queue_take(w.queue, 3, 0, &first, &last));
        assert_int_equal(first, next);
        assert_int_equal(last - first, (100 - next + 1) / 2);
        next = last;
    }
    int64_t end = 130;
    while (end > 100) { /* another's, from the end */
        assert_true(ls_work_queue_take(w.queue, 3, 0, &first, &last));
        assert_int_equal(last, end);
        assert_in_range(first, 100, last - 1);
        end = first;
    }
    for (int i = 0; i < 3; i++) assert_false(ls_work_queue_take(w.queue, 3, i, &first, &last));
    free(w.queue);
}

static void *run_worker(void *argument) {
    worker *me = argument;
    for (int round = 0; round < ROUNDS; round++) {
        give(me->world, me->index);
        pthread_barrier_wait(&me->world->barrier);
        take_all(me);
        pthread_barrier_wait(&me->world->barrier);
    }
    return NULL;
}

/* All at once, again and again; one of them has nothing of its own. */
static void test_together(void **state) {
    static world w;
    (void)state;
    for (int workers = 2; workers <= MOST; workers += 3) {
        pthread_t threads[MOST];
        worker all[MOST];
        int64_t taken = 0;
        world_create(&w, workers);
        memset(w.taken, 0, sizeof w.taken);
        for (int i = 1; i <= workers; i++)
            w.share[i] =
                i < workers ? (int64_t)i * (PIECES - 7) / (workers - 1) + 7 * (i == workers - 1) : PIECES;
        assert_int_equal(pthread_barrier_init(&w.barrier, NULL, (unsigned)workers), 0);
        for (int i = 0; i < workers; i++) {
            all[i] = (worker){.world = &w, .index = i};
            assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &all[i]), 0);
        }
        for (int i = 0; i < workers; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            taken += all[i].taken;
        }
        assert_int_equal(taken, (int64_t)ROUNDS * PIECES);
        for (int i = 0; i < PIECES; i++) assert_int_equal(atomic_load(&w.taken[i]), ROUNDS);
        assert_int_equal(all[workers - 1].stolen, all[workers - 1].taken); /* which had none */
        pthread_barrier_destroy(&w.barrier);
        free(w.queue);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alone), cmocka_unit_test(test_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
