#include "train/guard.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 2048 }; /* elements: with values, moments and gradient in the first-level cache */

ls_status ls_guard_create(ls_guard *guard, int threads) {
    *guard = (ls_guard){0};
    return ls_calloc(&guard->sums, (size_t)threads, sizeof *guard->sums, "the guard of the parameters");
}

void ls_guard_destroy(ls_guard *guard) {
    free(guard->sums);
    guard->sums = NULL;
}

void ls_guard_forget(ls_guard *guard) { guard->updates = 0; }

/* The sum of `count` 32-bit words. */
static uint64_t sum_words(const void *words, size_t count) {
    const unsigned char *bytes = words;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, bytes + i * sizeof word, sizeof word);
        sum += word;
    }
    return sum;
}

/* Of the values and moments of elements [first, last). */
static uint64_t sum_state(const ls_parameters *p, int64_t first, int64_t last) {
    void *const arenas[] = {p->value, p->moment1, p->moment2};
    const size_t words = (size_t)(last - first) * ls_dtype_size(p->backend->dtype) / sizeof(uint32_t);
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++)
        if (arenas[i]) sum += sum_words(ls_arena_at(p, arenas[i], first), words);
    return sum;
}

static void compare(ls_guard *guard, int thread, uint64_t found) {
    if (guard->updates > 0 && found != guard->sums[thread]) atomic_store(&guard->broken, true);
}

void ls_guard_update(ls_guard *guard, int thread, const ls_update *update, ls_parameters *p, ls_slice slice) {
    uint64_t before = 0, after = 0;
    if (!guard->sums) {
        ls_optimizer_apply(update, p, slice.first, slice.last);
        return;
    }
    for (int64_t at = slice.first; at < slice.last; at += BLOCK) {
        const int64_t end = at + BLOCK < slice.last ? at + BLOCK : slice.last;
        before += sum_state(p, at, end);
        ls_optimizer_apply(update, p, at, end);
        after += sum_state(p, at, end);
    }
    compare(guard, thread, before);
    guard->sums[thread] = after;
}

void ls_guard_updated(ls_guard *guard) { guard->updates++; }

void ls_guard_look(ls_guard *guard, int thread, const ls_parameters *p, ls_slice slice) {
    if (guard->sums) compare(guard, thread, sum_state(p, slice.first, slice.last));
}
