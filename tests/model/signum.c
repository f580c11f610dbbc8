/* An optimizer that only tests know. Signum (Bernstein and others, 2018), of the momentum that momentum.c has:
 *
 *     m = momentum m + g,  d = -1, 0 or 1, the sign of m
 */
#include "model/optimizer_rule.h"

static inline real direction(const real *scalars, real w, real g, real *m, real *v) {
    (void)w, (void)v;
    *m = scalars[0] * *m + g;
    return (real)(*m > 0) - (real)(*m < 0);
}

LS_OPTIMIZER_KERNELS(example_signum, 1, direction);

#if LS_DEFINES_CLASS
#include "examples.h"

typedef struct settings {
    double momentum;
} settings;

/* The key of optimizer=momentum: what two classes share has to mean the same. */
static const ls_key keys[] = {
    {.name = "momentum",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, momentum),
     .initial = "0.9",
     .max = LS_KEY_BELOW_ONE,
     .help = "share of the last update that is kept"},
};

static void scalars(const void *chosen, uint64_t step, double scalars[LS_UPDATE_SCALARS]) {
    const settings *s = chosen;
    (void)step;
    scalars[0] = s->momentum;
}

LS_OPTIMIZER_PICK(example_signum)

const ls_optimizer_class ls_example_signum_optimizer = {
    .choice = {.name = "example_signum",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .moments = 1,
    .scalars = scalars,
    .kernels = kernels,
};
#endif
