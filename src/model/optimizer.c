#include "model/optimizer.h"

#include "core/elementary.h"

int ls_optimizer_moments(int kind) {
    return kind == LS_ADAM ? 2 : kind == LS_MOMENTUM ? 1 : 0;
}

ls_update ls_optimizer_step(const ls_optimizer *optimizer, double lr, uint64_t step, int64_t parameters) {
    ls_update update = {
        .kind = optimizer->kind,
        .epsilon_inside = optimizer->epsilon_inside,
        .rate = lr,
        .decay = 2 * optimizer->l2_mean / (double)parameters + optimizer->weight_decay,
        .momentum = optimizer->momentum,
        .beta1 = optimizer->beta1,
        .beta2 = optimizer->beta2,
        .epsilon = optimizer->epsilon,
    };
    if (optimizer->kind == LS_ADAM) {
        update.correction1 = 1 / (1 - ls_pow_int(optimizer->beta1, step));
        update.correction2 = 1 / (1 - ls_pow_int(optimizer->beta2, step));
        if (optimizer->decay_power > 0) update.rate = lr / ls_pow((double)step, optimizer->decay_power);
    }
    return update;
}

ls_bit_sums ls_optimizer_apply(const ls_update *update, ls_parameters *p, int64_t first, int64_t last) {
    if (first >= last) return (ls_bit_sums){0};
    return LS_KERNELS_OF(p->backend, ls_update_ref)
        ->apply(update, last - first, ls_arena_at(p, p->value, first), ls_arena_at(p, p->reduced, first),
                p->moment1 ? ls_arena_at(p, p->moment1, first) : NULL,
                p->moment2 ? ls_arena_at(p, p->moment2, first) : NULL);
}

uint64_t ls_optimizer_sum(const ls_parameters *p, int64_t first, int64_t last) {
    void *const arenas[] = {p->value, p->moment1, p->moment2};
    uint64_t sum = 0;
    for (size_t i = 0; first < last && i < sizeof arenas / sizeof *arenas; i++)
        if (arenas[i])
            sum +=
                LS_KERNELS_OF(p->backend, ls_update_ref)->sum(last - first, ls_arena_at(p, arenas[i], first));
    return p->backend->dtype == LS_FP64 ? sum : (uint32_t)sum;
}
