#define _GNU_SOURCE /* sched_getaffinity */
#include "core/team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Waiting spins for a short while, since the next piece of work usually comes within microseconds, and then
 * sleeps, so that more threads than processors do not steal time from those that work. */
enum { SPINS = 2000 };

struct ls_team {
    int size;
    bool spin;
    pthread_t *threads;
    struct member {
        ls_team *team;
        int index;
    } * members;
    void (*work)(void *argument, int member);
    void *argument;
    /* `round` counts calls of ls_team_run, `arrived` the members at the current barrier, `phase` the barriers
     * passed */
    atomic_uint round, arrived, phase;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Waits until *word is no longer `old`. */
static void wait_for_change(ls_team *team, atomic_uint *word, unsigned old) {
    for (int i = 0; team->spin && i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        pause_briefly();
    }
    pthread_mutex_lock(&team->mutex);
    while (atomic_load_explicit(word, memory_order_acquire) == old)
        pthread_cond_wait(&team->changed, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

/* Changes *word under the mutex, so that nobody misses it between looking and sleeping. */
static void announce_change(ls_team *team, atomic_uint *word) {
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

void ls_team_barrier(ls_team *team) {
    if (team->size == 1) return;
    unsigned phase = atomic_load_explicit(&team->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)team->size) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        announce_change(team, &team->phase);
    } else {
        wait_for_change(team, &team->phase, phase);
    }
}

static void *member_main(void *argument) {
    struct member *member = argument;
    ls_team *team = member->team;
    for (unsigned round = 0;; round++) {
        wait_for_change(team, &team->round, round);
        if (atomic_load_explicit(&team->stop, memory_order_acquire)) return NULL;
        team->work(team->argument, member->index);
        ls_team_barrier(team);
    }
}

void ls_team_run(ls_team *team, void (*work)(void *argument, int member), void *argument) {
    if (team->size > 1) {
        team->work = work;
        team->argument = argument;
        announce_change(team, &team->round);
    }
    work(argument, 0);
    ls_team_barrier(team);
}

int ls_team_size(const ls_team *team) {
    return team->size;
}

/* Threads get the stack that the system gives by default, but not less than kernels need. */
static int start_thread(pthread_t *thread, struct member *member) {
    pthread_attr_t attributes;
    size_t stack;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    error = pthread_attr_getstacksize(&attributes, &stack);
    if (!error && stack < LS_LEAST_STACK) error = pthread_attr_setstacksize(&attributes, LS_LEAST_STACK);
    if (!error) error = pthread_create(thread, &attributes, member_main, member);
    pthread_attr_destroy(&attributes);
    return error;
}

static ls_status start_threads(ls_team *team) {
    for (int i = 1; i < team->size; i++) {
        team->members[i] = (struct member){team, i};
        int error = start_thread(&team->threads[i], &team->members[i]);
        if (error) {
            int wanted = team->size;
            team->size = i; /* those that ls_team_destroy has to join */
            return ls_fail(LS_INTERNAL, "threads=%d: thread %d cannot be started: %s", wanted, i,
                           strerror(error));
        }
    }
    return LS_OK;
}

ls_status ls_team_create(int size, ls_team **out) {
    ls_team *team;
    ls_status status;
    *out = NULL;
    LS_TRY(ls_calloc(&team, 1, sizeof *team, "the thread team"));
    team->size = size;
    team->spin = size <= ls_available_cores();
    int error = pthread_mutex_init(&team->mutex, NULL);
    if (!error && (error = pthread_cond_init(&team->changed, NULL)) != 0) pthread_mutex_destroy(&team->mutex);
    if (error) {
        free(team);
        return ls_fail(LS_INTERNAL, "threads=%d: no mutex or condition variable: %s", size, strerror(error));
    }
    LS_TRY_GOTO(status, failed, ls_calloc(&team->threads, (size_t)size, sizeof *team->threads, "threads"));
    LS_TRY_GOTO(status, failed, ls_calloc(&team->members, (size_t)size, sizeof *team->members, "threads"));
    LS_TRY_GOTO(status, failed, start_threads(team));
    *out = team;
    return LS_OK;
failed:
    if (!team->members) team->size = 1;
    ls_team_destroy(&team);
    return status;
}

void ls_team_destroy(ls_team **out) {
    ls_team *team = *out;
    if (!team) return;
    atomic_store_explicit(&team->stop, true, memory_order_release);
    announce_change(team, &team->round);
    for (int i = 1; i < team->size; i++) pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->mutex);
    free(team->threads);
    free(team->members);
    free(team);
    *out = NULL;
}

int ls_available_cores(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    /* the fixed set is too small for machines of more than 1024 processors: then all that are online */
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}
