/* f = gamma^n, n the number of epochs done (PyTorch's ExponentialLR). */
#include "core/elementary.h"
#include "model/schedule.h"

typedef struct settings {
    double gamma;
} settings;

static const ls_key keys[] = {
    {.name = "gamma",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, gamma),
     .initial = "0.1",
     .min = LS_KEY_ABOVE_ZERO,
     .max = 1,
     .help = "factor of the learning rate each time"},
};

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    const settings *s = chosen;
    (void)step;
    return ls_pow_int(s->gamma, (uint64_t)epoch);
}

const ls_schedule_class ls_exponential_schedule = {
    .choice = {.name = "exponential",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
