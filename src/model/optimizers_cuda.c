/* The tables of the update for GPUs. */
#include "model/optimizers_cuda.h"

#include "core/device_cuda.h"
#include "model/optimizer.h"

_Static_assert((int)LS_CUDA_UPDATE_DECAY == (int)LS_UPDATE_DECAY, "the place of weight decay among the scalars");

static ls_bit_sums apply(void (*launch)(struct ls_device *device, const ls_cuda_update *u),
                         const ls_update *update, int64_t count, void *w, const void *g, void *m, void *v,
                         const ls_lane *lane) {
    if (count == 0) return (ls_bit_sums){0};
    uint64_t *words = ls_device_words(lane->device);
    ls_cuda_update u = {
        .count = count, .w = w, .m = m, .v = v, .g = g, .before = &words[0], .after = &words[1]};
    ls_update_inputs(update, &u.in);
    launch(lane->device, &u);
    const uint64_t *sums = ls_device_read(lane->device);
    return (ls_bit_sums){sums[0], sums[1]};
}

static void apply_now(void (*launch)(struct ls_device *device, const ls_cuda_update *u), struct ls_now *now,
                      int64_t count, void *w, const void *g, void *m, void *v, const ls_lane *lane) {
    const ls_cuda_update u = {.count = count,
                              .w = w,
                              .m = m,
                              .v = v,
                              .g = g,
                              .now = now,
                              .before = &now->left.before,
                              .after = &now->left.after};
    launch(lane->device, &u);
}

static uint64_t sum(int64_t count, const void *elements, const ls_lane *lane) {
    if (count == 0) return 0;
    ls_bit_sum_launch(lane->device, count, elements, ls_device_words(lane->device));
    return ls_device_read(lane->device)[0];
}

LS_KERNELS_CUDA(ls_bit_sum_kernels, ls_bit_sum_ref);
const ls_bit_sum_kernels ls_bit_sum_ref_cuda = {sum};

#define TABLE(name)                                                                                          \
    static ls_bit_sums apply_##name(const ls_update *update, int64_t count, void *w, const void *g, void *m, \
                                    void *v, const ls_lane *lane) {                                          \
        return apply(ls_##name##_update_launch, update, count, w, g, m, v, lane);                            \
    }                                                                                                        \
    static void apply_now_##name(struct ls_now *now, int64_t count, void *w, const void *g, void *m,         \
                                 void *v, const ls_lane *lane) {                                             \
        apply_now(ls_##name##_update_launch, now, count, w, g, m, v, lane);                                  \
    }                                                                                                        \
    LS_KERNELS_CUDA(ls_update_kernels, ls_##name##_update);                                                  \
    const ls_update_kernels ls_##name##_update_cuda = {apply_##name, apply_now_##name};
LS_CUDA_OPTIMIZERS(TABLE)
