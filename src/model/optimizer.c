/* The list of all optimizers, and what they share. */
#include "model/optimizer.h"

#include <stdlib.h>

/* The list: a new optimizer is a line here, with the name of its file in optimizers/. */
#define OPTIMIZERS(X)                                                                                        \
    X(sgd)                                                                                                   \
    X(momentum)                                                                                              \
    X(adam)                                                                                                  \
    X(adamw)                                                                                                 \
    X(rmsprop)

#define X(name) extern const ls_optimizer_class ls_##name##_optimizer;
OPTIMIZERS(X)
#undef X

#define X(name)   &ls_##name##_optimizer.choice,
#define ONE(name) +1
ls_key_classes ls_optimizers = {{OPTIMIZERS(X)}, 0 OPTIMIZERS(ONE)};
#undef X
#undef ONE

static const ls_optimizer_class *class_of(const ls_key_class *choice) {
    return (const ls_optimizer_class *)choice; /* its first member */
}

ls_status ls_optimizer_register(const ls_optimizer_class *class) {
    if (!class->kernels || class->moments < 0 || class->moments > 2)
        return ls_fail(LS_USAGE, "optimizer %s: expected kernels, and 0 to 2 moments", class->choice.name);
    return ls_key_class_add(&ls_optimizers, "optimizer", &class->choice);
}

int ls_optimizer_moments(int choice) {
    return class_of(ls_optimizers.list[choice])->moments;
}

ls_status ls_optimizer_create(const char *name, const char *const *words, int count,
                              ls_optimizer *optimizer) {
    const ls_key_class *choice;
    *optimizer = (ls_optimizer){0};
    LS_TRY(
        ls_key_class_create(&ls_optimizers, "optimizer", name, words, count, &choice, &optimizer->settings));
    optimizer->class = class_of(choice);
    return LS_OK;
}

ls_status ls_optimizer_read(const ls_config *config, ls_optimizer *optimizer) {
    const ls_key_class *choice;
    *optimizer = (ls_optimizer){0};
    LS_TRY(ls_config_class(config, "optimizer", &choice, &optimizer->settings));
    optimizer->class = class_of(choice);
    return LS_OK;
}

void ls_optimizer_destroy(ls_optimizer *optimizer) {
    if (optimizer->class) ls_keys_free(&optimizer->class->choice.keys, optimizer->settings);
    free(optimizer->settings);
    *optimizer = (ls_optimizer){0};
}

ls_update ls_optimizer_step(const ls_optimizer *optimizer, double rate, uint64_t step, int64_t parameters) {
    ls_update update = {
        .class = optimizer->class, .rate = rate, .decay = 2 * optimizer->l2_mean / (double)parameters};
    if (optimizer->class->scalars) optimizer->class->scalars(optimizer->settings, step, update.scalars);
    if (optimizer->class->decay_apart)
        update.scalars[LS_UPDATE_DECAY] = optimizer->weight_decay;
    else
        update.decay += optimizer->weight_decay;
    return update;
}

ls_bit_sums ls_optimizer_apply(const ls_update *update, ls_parameters *p, int64_t first, int64_t last) {
    const ls_lane lane = {.device = p->backend->device};
    if (first >= last) return (ls_bit_sums){0};
    return update->class->kernels(p->backend)
        ->apply(update, last - first, ls_arena_at(p, p->value, first), ls_arena_at(p, p->reduced, first),
                p->moment1 ? ls_arena_at(p, p->moment1, first) : NULL,
                p->moment2 ? ls_arena_at(p, p->moment2, first) : NULL, &lane);
}

void ls_optimizer_apply_now(const ls_optimizer *optimizer, ls_parameters *p, struct ls_now *now) {
    const ls_lane lane = {.device = p->backend->device};
    if (p->total > 0)
        optimizer->class->kernels(p->backend)
            ->apply_now(now, p->total, p->value, p->reduced, p->moment1, p->moment2, &lane);
}

void ls_update_inputs(const ls_update *update, ls_now_inputs *inputs) {
    inputs->rate = (float)update->rate;
    inputs->decay = (float)update->decay;
    for (int i = 0; i < LS_UPDATE_SCALARS; i++) inputs->scalars[i] = (float)update->scalars[i];
}

uint64_t ls_optimizer_sum(const ls_parameters *p, int64_t first, int64_t last) {
    void *const arenas[] = {p->value, p->moment1, p->moment2};
    const ls_lane lane = {.device = p->backend->device};
    uint64_t sum = 0;
    for (size_t i = 0; first < last && i < sizeof arenas / sizeof *arenas; i++)
        if (arenas[i])
            sum += LS_KERNELS_OF(p->backend, ls_bit_sum_ref)
                       ->sum(last - first, ls_arena_at(p, arenas[i], first), &lane);
    return p->backend->dtype == LS_FP64 ? sum : (uint32_t)sum;
}
