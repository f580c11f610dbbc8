/* Gradient descent with momentum (Polyak, 1964; PyTorch's SGD with momentum):
 *
 *     m = momentum m + g,  d = m
 *
 * or, with nesterov (Sutskever and others, 2013; PyTorch's nesterov=True),  d = g + momentum m. */
#include "model/optimizer_rule.h"

LS_DUAL_INLINE real direction(const real *scalars, real w, real g, real *m, real *v) {
    (void)w, (void)v;
    *m = scalars[0] * *m + g;
    return scalars[1] != 0 ? g + scalars[0] * *m : *m;
}

LS_OPTIMIZER_KERNELS(momentum, 1, direction);

#if LS_DEFINES_CLASS
typedef struct settings {
    double momentum;
    bool nesterov;
} settings;

static const ls_key keys[] = {
    {.name = "momentum",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, momentum),
     .initial = "0.9",
     .max = LS_KEY_BELOW_ONE,
     .help = "share of the last update that is kept"},
    {.name = "nesterov",
     .type = LS_KEY_BOOL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, nesterov),
     .initial = "false",
     .help = "the step looks one update ahead"},
};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    (void)step;
    scalars[0] = s->momentum;
    scalars[1] = s->nesterov;
}

LS_OPTIMIZER_PICK(momentum)

const ls_optimizer_class ls_momentum_optimizer = {
    .choice = {.name = "momentum",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .moments = 1,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
