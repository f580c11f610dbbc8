#include "core/rng.h"
#include "layers/activations_cuda.h"
#include "layers/elementwise.h"
#include "layers/fusion_host_cuda.h"

ls_cuda_shards ls_cuda_shards_of(const ls_shards *shards, int first, int last) {
    ls_cuda_shards s = {.first = first, .count = last - first};
    for (int i = first; i <= last; i++) s.start[i - first] = (int)shards->start[i];
    return s;
}

int ls_cuda_activation_kind_of(const ls_activation_class *class) {
#define KIND(file, kernels, name)                                                                            \
    if (class == &ls_##name##_activation) return LS_CUDA_##name;
    LS_CUDA_ACTIVATIONS(KIND)
    return LS_CUDA_NO_ACTIVATION;
}

bool ls_cuda_folds_cheap(const ls_activation *act) {
    bool found = false;
#define IS_IT(file, kernels, name) found |= act->class == &ls_##name##_activation;
    LS_CUDA_CHEAP_ACTIVATIONS(IS_IT)
#undef IS_IT
    return found;
}

static ls_cuda_normalisation normalisation_of(const ls_normalisation *n) {
    return (ls_cuda_normalisation){n->mean, n->scale, n->shift};
}

static ls_cuda_activation activation_of(const ls_activation *act) {
    if (!act->class) return (ls_cuda_activation){0};
    return (ls_cuda_activation){ls_cuda_activation_kind_of(act->class), (int)act->class->derivative,
                                act->parameter};
}

static ls_cuda_dropout dropout_of(const ls_dropout_mask *mask) {
    const uint32_t step = mask->now ? 0 : mask->step;
    const ls_rng rng = ls_rng_stream(mask->seed, LS_RNG_DROPOUT, mask->op, step, 0);
    return (ls_cuda_dropout){.active = mask->active,
                             .key = {(uint32_t)rng.seed, (uint32_t)(rng.seed >> 32)},
                             .step = rng.time,
                             .now = mask->now,
                             .purpose_and_op = rng.purpose_and_op,
                             .threshold = mask->threshold,
                             .scale = (float)mask->scale,
                             .sample = mask->sample};
}

ls_cuda_prologue ls_cuda_prologue_of(const ls_prologue *p) {
    return (ls_cuda_prologue){.length = (int)(p->pixels * p->channels),
                              .channels = (int)p->channels,
                              .width = (int)p->width,
                              .narrow_x = p->narrow_x,
                              .narrow_residual = p->narrow_residual,
                              .narrow = p->narrow,
                              .x = p->x,
                              .norm = normalisation_of(&p->norm),
                              .residual = p->residual,
                              .residual_norm = normalisation_of(&p->residual_norm),
                              .act = activation_of(&p->act),
                              .dropout = dropout_of(&p->dropout),
                              .stored = p->stored};
}

ls_cuda_grad_prologue ls_cuda_grad_prologue_of(const ls_grad_prologue *p) {
    return (ls_cuda_grad_prologue){.length = (int)(p->pixels * p->channels),
                                   .channels = (int)p->channels,
                                   .narrow_dz = p->narrow_dz,
                                   .narrow_y = p->narrow_y,
                                   .dz = p->dz,
                                   .y = p->y,
                                   .mean = p->mean,
                                   .a = p->a,
                                   .b = p->b,
                                   .c = p->c,
                                   .stored = p->stored};
}

ls_cuda_grad_epilogue ls_cuda_grad_epilogue_of(const ls_grad_epilogue *e) {
    return (ls_cuda_grad_epilogue){.narrow_dz = e->narrow_dz,
                                   .narrow_dresidual = e->narrow_dresidual,
                                   .others = e->others,
                                   .dz = e->dz,
                                   .dresidual = e->dresidual,
                                   .accumulate = e->accumulate,
                                   .dresidual_accumulate = e->dresidual_accumulate,
                                   .sums = e->sums,
                                   .residual_sums = e->residual_sums};
}
