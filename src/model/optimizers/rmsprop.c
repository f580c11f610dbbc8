/* RMSprop (Hinton, lecture 6 of his course, 2012; PyTorch's RMSprop): with m the mean of squares,
 *
 *     m = alpha m + (1 - alpha) g g
 *     d = g / (sqrt(m) + epsilon)
 */
#include "model/optimizer_rule.h"

LS_DUAL_INLINE real direction(const real *scalars, real w, real g, real *m, real *v) {
    (void)w, (void)v;
    *m = scalars[0] * *m + scalars[1] * (g * g);
    return g / (LS_SQRT(*m) + scalars[2]);
}

LS_OPTIMIZER_KERNELS(rmsprop, 1, direction);

#if LS_DEFINES_CLASS
typedef struct settings {
    double alpha, epsilon;
} settings;

static const ls_key keys[] = {
    {.name = "alpha",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, alpha),
     .initial = "0.99",
     .max = LS_KEY_BELOW_ONE,
     .help = "decay of the mean of squared gradients"},
    {.name = "epsilon",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, epsilon),
     .initial = "1e-8",
     .min = LS_KEY_ABOVE_ZERO,
     .max = 1,
     .help = "added to the denominator"},
};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    (void)step;
    scalars[0] = s->alpha;
    scalars[1] = 1 - s->alpha;
    scalars[2] = s->epsilon;
}

LS_OPTIMIZER_PICK(rmsprop)

const ls_optimizer_class ls_rmsprop_optimizer = {
    .choice = {.name = "rmsprop",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .moments = 1,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
