/* Teams of threads: everybody works once a call, barriers hold everybody back, any size, called again and
 * again. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/team.h"

enum { MOST = 8, ROUNDS = 300, BARRIERS = 5 };

typedef struct shared {
    ls_team *team;
    int size;
    int calls[MOST];           /* by the member */
    int steps[MOST][BARRIERS]; /* round in which a member did that step */
    int round;                 /* written by the caller between two calls, without any lock */
    bool wrong[MOST];
    pthread_t self[MOST];
} shared;

static void count(void *argument, int member) {
    shared *s = argument;
    s->calls[member]++;
    s->self[member] = pthread_self();
    if (s->round != s->calls[member]) s->wrong[member] = true;
}

static void test_every_member_once(void **state) {
    (void)state;
    for (int size = 1; size <= MOST; size++) {
        shared s = {.size = size};
        assert_int_equal(ls_team_create(size, &s.team), LS_OK);
        assert_int_equal(ls_team_size(s.team), size);
        for (s.round = 1; s.round <= ROUNDS; s.round++) ls_team_run(s.team, count, &s);
        for (int i = 0; i < MOST; i++) {
            assert_int_equal(s.calls[i], i < size ? ROUNDS : 0);
            assert_false(s.wrong[i]);
        }
        assert_true(pthread_equal(s.self[0], pthread_self())); /* the caller is member 0 */
        for (int i = 1; i < size; i++) assert_false(pthread_equal(s.self[i], s.self[i - 1]));
        ls_team_destroy(&s.team);
        assert_null(s.team);
        ls_team_destroy(&s.team);
    }
}

/* After a barrier each member sees what every other did before it. */
static void step_by_step(void *argument, int member) {
    shared *s = argument;
    for (int b = 0; b < BARRIERS; b++) {
        s->steps[member][b] = s->round;
        ls_team_barrier(s->team);
        for (int i = 0; i < s->size; i++)
            if (s->steps[i][b] != s->round) s->wrong[member] = true;
        ls_team_barrier(s->team);
    }
}

static void test_barriers(void **state) {
    (void)state;
    for (int size = 1; size <= MOST; size++) {
        shared s = {.size = size};
        assert_int_equal(ls_team_create(size, &s.team), LS_OK);
        for (s.round = 1; s.round <= ROUNDS / 10; s.round++) ls_team_run(s.team, step_by_step, &s);
        for (int i = 0; i < size; i++) assert_false(s.wrong[i]);
        ls_team_destroy(&s.team);
    }
}

/* One piece of work after another, each on what the one before it left: what stages of a plan do. */
typedef struct chain {
    int size;
    int64_t values[100];
} chain;

static void add_neighbour(void *argument, int member) {
    chain *c = argument;
    int64_t first, last;
    ls_team_split(50, member, c->size, &first, &last);
    for (int64_t i = first; i < last; i++) c->values[i] += c->values[50 + (i * 7) % 50];
}

static void add_back(void *argument, int member) {
    chain *c = argument;
    int64_t first, last;
    ls_team_split(50, member, c->size, &first, &last);
    for (int64_t i = first; i < last; i++)
        c->values[50 + i] = (c->values[50 + i] + c->values[(i * 3) % 50]) % 1000003;
}

static void test_chained_work(void **state) {
    chain reference = {0};
    (void)state;
    for (int size = 1; size <= MOST; size++) {
        chain c = {.size = size};
        ls_team *team;
        for (int i = 0; i < 100; i++) c.values[i] = i;
        assert_int_equal(ls_team_create(size, &team), LS_OK);
        for (int round = 0; round < ROUNDS; round++) {
            ls_team_run(team, add_neighbour, &c);
            ls_team_run(team, add_back, &c);
            for (int i = 0; i < 50; i++) c.values[i] %= 1000003;
        }
        ls_team_destroy(&team);
        if (size == 1) reference = c;
        assert_memory_equal(c.values, reference.values, sizeof c.values);
    }
}

static void test_split(void **state) {
    (void)state;
    for (int64_t n = 0; n <= 70; n++)
        for (int size = 1; size <= MOST; size++) {
            int64_t at = 0;
            for (int member = 0; member < size; member++) {
                int64_t first, last;
                ls_team_split(n, member, size, &first, &last);
                assert_int_equal(first, at);
                assert_in_range(last - first, n / size, (n + size - 1) / size);
                at = last;
            }
            assert_int_equal(at, n);
        }
}

/* Teams that never work end as well, also two at a time. */
static void test_idle(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        ls_team *a, *b;
        assert_int_equal(ls_team_create(3, &a), LS_OK);
        assert_int_equal(ls_team_create(2, &b), LS_OK);
        ls_team_destroy(&a);
        ls_team_destroy(&b);
    }
    assert_true(ls_available_cores() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_once),
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_chained_work),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
