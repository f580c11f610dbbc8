/* Adam (Kingma and Ba, 2015, algorithm 1): with t the step, from 1,
 *
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g g
 *     d = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * or, with epsilon_inside (report 1, algorithm 1), .. / sqrt(v / (1 - beta2^t) + epsilon). */
#include "model/optimizer_rule.h"

enum { BETA1, REST1, BETA2, REST2, CORRECTION1, CORRECTION2, INSIDE, OUTSIDE, SCALARS };

LS_DUAL_INLINE real direction(const real *s, real w, real g, real *m, real *v) {
    (void)w;
    *m = s[BETA1] * *m + s[REST1] * g;
    *v = s[BETA2] * *v + s[REST2] * (g * g);
    return (*m * s[CORRECTION1]) / (LS_SQRT(*v * s[CORRECTION2] + s[INSIDE]) + s[OUTSIDE]);
}

LS_OPTIMIZER_KERNELS(adam, 2, direction);

#if LS_DEFINES_CLASS
#include "core/elementary.h"

_Static_assert((int)SCALARS <= (int)LS_UPDATE_SCALARS, "an update has room for Adam's scalars");

typedef struct settings {
    double beta1, beta2, epsilon;
    bool epsilon_inside;
} settings;

#define REAL(member_, initial_, min_, max_, help_)                                                           \
    {                                                                                                        \
        .name = #member_, .type = LS_KEY_REAL, .effect = LS_KEY_RESULT,                                      \
        .offset = offsetof(settings, member_), .initial = (initial_), .min = (min_), .max = (max_),          \
        .help = (help_)                                                                                      \
    }

static const ls_key keys[] = {
    REAL(beta1, "0.9", 0, LS_KEY_BELOW_ONE, "decay of the mean of gradients"),
    REAL(beta2, "0.999", 0, LS_KEY_BELOW_ONE, "decay of the mean of squared gradients"),
    REAL(epsilon, "1e-8", LS_KEY_ABOVE_ZERO, 1, "added to the denominator"),
    {.name = "epsilon_inside",
     .type = LS_KEY_BOOL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, epsilon_inside),
     .initial = "false",
     .help = "sqrt(v + epsilon) instead of sqrt(v) + epsilon"},
};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    scalars[BETA1] = s->beta1;
    scalars[REST1] = 1 - s->beta1;
    scalars[BETA2] = s->beta2;
    scalars[REST2] = 1 - s->beta2;
    scalars[CORRECTION1] = 1 / (1 - ls_pow_int(s->beta1, step));
    scalars[CORRECTION2] = 1 / (1 - ls_pow_int(s->beta2, step));
    scalars[s->epsilon_inside ? INSIDE : OUTSIDE] = s->epsilon;
}

LS_OPTIMIZER_PICK(adam)

const ls_optimizer_class ls_adam_optimizer = {
    .choice = {.name = "adam", .keys = {keys, sizeof keys / sizeof *keys}, .settings_size = sizeof(settings)},
    .moments = 2,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
