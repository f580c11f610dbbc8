/* Adam (Kingma and Ba, 2015, algorithm 1): with t the step, from 1,
 *
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g g
 *     d = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * or, with epsilon_inside (report 1, algorithm 1), .. / sqrt(v / (1 - beta2^t) + epsilon). */
#include "model/optimizer_rule.h"

#include "model/optimizers/adam.h"

enum { INSIDE = LS_ADAM_SCALARS, OUTSIDE, SCALARS };

LS_DUAL_INLINE real direction(const real *s, real w, real g, real *m, real *v) {
    (void)w;
    ls_adam_moments(s, g, m, v);
    return (*m * s[LS_CORRECTION1]) / (LS_SQRT(*v * s[LS_CORRECTION2] + s[INSIDE]) + s[OUTSIDE]);
}

LS_OPTIMIZER_KERNELS(adam, 2, direction);

#if LS_DEFINES_CLASS
_Static_assert((int)SCALARS <= (int)LS_UPDATE_SCALARS, "an update has room for Adam's scalars");

typedef struct settings {
    ls_adam_settings adam;
    bool epsilon_inside;
} settings;

static const ls_key keys[] = {
    LS_ADAM_KEYS,
    {.name = "epsilon_inside",
     .type = LS_KEY_BOOL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, epsilon_inside),
     .initial = "false",
     .help = "sqrt(v + epsilon) instead of sqrt(v) + epsilon"},
};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    ls_adam_numbers(&s->adam, step, scalars);
    scalars[s->epsilon_inside ? INSIDE : OUTSIDE] = s->adam.epsilon;
}

LS_OPTIMIZER_PICK(adam)

const ls_optimizer_class ls_adam_optimizer = {
    .choice = {.name = "adam", .keys = {keys, sizeof keys / sizeof *keys}, .settings_size = sizeof(settings)},
    .moments = 2,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
