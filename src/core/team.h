/* A team of threads inside a rank (pthreads, since thread sanitizers report falsely on OpenMP). The caller is
 * member 0; work is split by fixed rules from (member, size), so who does what never depends on timing. */
#ifndef LOCKSTEP_CORE_TEAM_H
#define LOCKSTEP_CORE_TEAM_H

#include <stdint.h>

#include "core/status.h"

typedef struct ls_team ls_team;

/* Bytes that a thread's stack has at least, the main one's too (cli/main.c): kernels keep tiles there. */
enum { LS_LEAST_STACK = 1 << 20 };

/* Starts size - 1 threads, which wait. LS_INTERNAL: a thread cannot be started. */
ls_status ls_team_create(int size, ls_team **team);
/* Ends the threads; safe twice. */
void ls_team_destroy(ls_team **team);

int ls_team_size(const ls_team *team);

/* Calls work(argument, member) on every member at once and returns when all are done. Only the creator calls
 * this. */
void ls_team_run(ls_team *team, void (*work)(void *argument, int member), void *argument);

/* Inside ls_team_run: waits until every member has come here. */
void ls_team_barrier(ls_team *team);

/* Member's part [*first, *last) of n items: contiguous, as even as can be. */
static inline void ls_team_split(int64_t n, int member, int size, int64_t *first, int64_t *last) {
    *first = n * member / size;
    *last = n * (member + 1) / size;
}

/* Processors that this process may use (its affinity mask), at least 1. */
int ls_available_cores(void);

#endif
