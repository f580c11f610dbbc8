/* Pieces of work that workers share out while they do them. Each begins with a range of its own, a part of
 * what is left of it at a time, smaller and smaller; who has done its own helps the one that has most left.
 * So nobody waits long for a worker on a slow core, and each does mostly the same pieces every time.
 *
 * In memory that all workers see, threads or processes, aligned to 64 bytes. Local; lock-free. */
#ifndef LOCKSTEP_CORE_WORK_QUEUE_H
#define LOCKSTEP_CORE_WORK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_work_queue ls_work_queue;

size_t ls_work_queue_bytes(int workers);

/* Pieces [first, last) of worker `worker`, each below 2^32: before anybody takes any, and once nobody does.
 */
void ls_work_queue_give(ls_work_queue *queue, int worker, int64_t first, int64_t last);

/* The next pieces [*first, *last) for this worker, at least one; false: none are left. */
bool ls_work_queue_take(ls_work_queue *queue, int workers, int worker, int64_t *first, int64_t *last);

#endif
