#include "core/work_queue.h"

#include <stdatomic.h>

/* What is left of a worker's pieces: the first one in the lower half, the end in the upper one. */
struct ls_work_queue {
    _Alignas(64) _Atomic uint64_t left;
};

typedef struct range {
    uint32_t first, last;
} range;

static range range_of(uint64_t word) {
    return (range){(uint32_t)word, (uint32_t)(word >> 32)};
}

static uint64_t word_of(uint32_t first, uint32_t last) {
    return (uint64_t)last << 32 | first;
}

size_t ls_work_queue_bytes(int workers) {
    return (size_t)workers * sizeof(ls_work_queue);
}

void ls_work_queue_give(ls_work_queue *queue, int worker, int64_t first, int64_t last) {
    atomic_store_explicit(&queue[worker].left, word_of((uint32_t)first, (uint32_t)last),
                          memory_order_relaxed);
}

/* The owner takes the first half of what is left, others the last quarter: few calls while there is much,
 * single pieces towards the end. */
static bool take_from(ls_work_queue *queue, int from, bool own, int64_t *first, int64_t *last) {
    uint64_t word = atomic_load_explicit(&queue[from].left, memory_order_relaxed);
    for (;;) {
        const range r = range_of(word);
        const uint32_t left = r.last - r.first, count = own ? (left + 1) / 2 : (left + 3) / 4;
        if (r.first >= r.last) return false;
        const uint64_t rest = own ? word_of(r.first + count, r.last) : word_of(r.first, r.last - count);
        if (!atomic_compare_exchange_weak_explicit(&queue[from].left, &word, rest, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        *first = own ? r.first : r.last - count;
        *last = *first + count;
        return true;
    }
}

static uint32_t left_of(const ls_work_queue *queue, int worker) {
    const range r = range_of(atomic_load_explicit(&queue[worker].left, memory_order_relaxed));
    return r.first < r.last ? r.last - r.first : 0;
}

bool ls_work_queue_take(ls_work_queue *queue, int workers, int worker, int64_t *first, int64_t *last) {
    if (take_from(queue, worker, true, first, last)) return true;
    for (;;) {
        uint32_t most = 0;
        int busiest = 0;
        for (int w = 0; w < workers; w++) {
            const uint32_t left = left_of(queue, w);
            if (left > most) {
                most = left;
                busiest = w;
            }
        }
        if (most == 0) return false;
        if (take_from(queue, busiest, false, first, last)) return true;
    }
}
