/* Adam whose weight decay is not part of the gradient (Loshchilov and Hutter, 2019, algorithm 2; PyTorch's
 * AdamW): with m and v as in adam.c,
 *
 *     d = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay w
 */
#include "model/optimizer_rule.h"

#include "model/optimizers/adam.h"

enum { EPSILON = LS_ADAM_SCALARS, SCALARS };

LS_DUAL_INLINE real direction(const real *s, real w, real g, real *m, real *v) {
    ls_adam_moments(s, g, m, v);
    return (*m * s[LS_CORRECTION1]) / (LS_SQRT(*v * s[LS_CORRECTION2]) + s[EPSILON]) + s[LS_UPDATE_DECAY] * w;
}

LS_OPTIMIZER_KERNELS(adamw, 2, direction);

#if LS_DEFINES_CLASS
_Static_assert((int)SCALARS <= (int)LS_UPDATE_DECAY, "an update has room for AdamW's scalars");

typedef struct settings {
    ls_adam_settings adam;
} settings;

static const ls_key keys[] = {LS_ADAM_KEYS};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    ls_adam_numbers(&s->adam, step, scalars);
    scalars[EPSILON] = s->adam.epsilon;
}

LS_OPTIMIZER_PICK(adamw)

const ls_optimizer_class ls_adamw_optimizer = {
    .choice = {.name = "adamw",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .moments = 2,
    .decay_apart = true,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
