/* What Adam and AdamW share: their moments, three of their keys, and the numbers of a step. */
#ifndef LOCKSTEP_MODEL_OPTIMIZERS_ADAM_H
#define LOCKSTEP_MODEL_OPTIMIZERS_ADAM_H

enum { LS_BETA1, LS_REST1, LS_BETA2, LS_REST2, LS_CORRECTION1, LS_CORRECTION2, LS_ADAM_SCALARS };

/* m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g g */
LS_DUAL_INLINE void ls_adam_moments(const real *s, real g, real *m, real *v) {
    *m = s[LS_BETA1] * *m + s[LS_REST1] * g;
    *v = s[LS_BETA2] * *v + s[LS_REST2] * (g * g);
}

#if LS_DEFINES_CLASS
#include "core/elementary.h"

/* The first member of a class's `settings`, `adam`. */
typedef struct ls_adam_settings {
    double beta1, beta2, epsilon;
} ls_adam_settings;

#define LS_ADAM_KEY(member_, initial_, min_, max_, help_)                                                    \
    {                                                                                                        \
        .name = #member_, .type = LS_KEY_REAL, .effect = LS_KEY_RESULT,                                      \
        .offset = offsetof(settings, adam.member_), .initial = (initial_), .min = (min_), .max = (max_),     \
        .help = (help_)                                                                                      \
    }
#define LS_ADAM_KEYS                                                                                         \
    LS_ADAM_KEY(beta1, "0.9", 0, LS_KEY_BELOW_ONE, "decay of the mean of gradients"),                        \
        LS_ADAM_KEY(beta2, "0.999", 0, LS_KEY_BELOW_ONE, "decay of the mean of squared gradients"),          \
        LS_ADAM_KEY(epsilon, "1e-8", LS_KEY_ABOVE_ZERO, 1, "added to the denominator")

static inline void ls_adam_numbers(const ls_adam_settings *s, uint64_t step, double *scalars) {
    scalars[LS_BETA1] = s->beta1;
    scalars[LS_REST1] = 1 - s->beta1;
    scalars[LS_BETA2] = s->beta2;
    scalars[LS_REST2] = 1 - s->beta2;
    scalars[LS_CORRECTION1] = 1 / (1 - ls_pow_int(s->beta1, step));
    scalars[LS_CORRECTION2] = 1 / (1 - ls_pow_int(s->beta2, step));
}
#endif

#endif
