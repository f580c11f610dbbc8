#include "train/guard.h"

#include <stdlib.h>

ls_status ls_guard_create(ls_guard *guard, int threads) {
    *guard = (ls_guard){0};
    return ls_calloc(&guard->sums, (size_t)threads, sizeof *guard->sums, "the guard of the parameters");
}

void ls_guard_destroy(ls_guard *guard) {
    free(guard->sums);
    guard->sums = NULL;
}

void ls_guard_remember(ls_guard *guard, int thread, const ls_parameters *p, ls_slice slice) {
    if (guard->sums) guard->sums[thread] = ls_optimizer_sum(p, slice.first, slice.last);
}

static void compare(ls_guard *guard, int thread, uint64_t found) {
    if (found != guard->sums[thread]) atomic_store(&guard->broken, true);
}

void ls_guard_update(ls_guard *guard, int thread, const ls_update *update, ls_parameters *p, ls_slice slice) {
    const ls_bit_sums sums = ls_optimizer_apply(update, p, slice.first, slice.last);
    if (!guard->sums) return;
    compare(guard, thread, sums.before);
    guard->sums[thread] = sums.after;
}

void ls_guard_look(ls_guard *guard, int thread, const ls_parameters *p, ls_slice slice) {
    if (guard->sums) compare(guard, thread, ls_optimizer_sum(p, slice.first, slice.last));
}
