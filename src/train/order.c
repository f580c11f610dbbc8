/* Which samples a step takes: a function of (seed, epoch, position) alone. */
#include <string.h>

#include "train/trainer.h"

int64_t ls_trainer_epoch_samples(const ls_trainer *t) {
    return t->options.samples_per_epoch > 0 ? t->options.samples_per_epoch : t->data.training;
}

int64_t ls_trainer_batches_per_epoch(const ls_trainer *t) {
    return (ls_trainer_epoch_samples(t) + t->options.batch - 1) / t->options.batch;
}

int64_t ls_trainer_batch_samples(const ls_trainer *t, int64_t number) {
    const int64_t left = ls_trainer_epoch_samples(t) - number * t->options.batch;
    return left < t->options.batch ? left : t->options.batch;
}

static void permute(ls_trainer *t, int64_t index) {
    memcpy(t->permutation, t->data.split, (size_t)t->data.training * sizeof *t->permutation);
    ls_shuffle((uint64_t)t->options.seed, LS_RNG_ORDER, (uint32_t)index, t->permutation, t->data.training);
    t->permutation_index = index;
}

/* Permutations of the training samples follow one another without end, and an epoch is the next piece of that
 * row: as a rule one of them. It is a function of (seed, epoch): there is nothing to remember and nothing to
 * forget. */
void ls_trainer_order_epoch(ls_trainer *t) {
    int64_t count = ls_trainer_epoch_samples(t), at = t->epoch * count;
    for (int64_t i = 0; i < count; i++, at++) {
        if (at / t->data.training != t->permutation_index) permute(t, at / t->data.training);
        t->order[i] = t->permutation[at % t->data.training];
    }
}

void ls_trainer_begin_epoch(ls_trainer *t) {
    ls_trainer_order_epoch(t);
    t->epoch_score = (ls_score){0};
}
