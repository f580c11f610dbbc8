/* A schedule that only tests know. Cosine annealing (Loshchilov and Hutter, 2017), to 0 at step `period`:
 * f = (1 + cos(pi step / period)) / 2, and 0 from there on. */
#include "core/elementary.h"
#include "examples.h"

typedef struct settings {
    int64_t period;
} settings;

static const ls_key keys[] = {
    {.name = "period",
     .type = LS_KEY_INT,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, period),
     .min = 1,
     .max = 4294967295.0,
     .help = "steps until the learning rate is 0"},
};

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    static const double pi = 3.14159265358979323846;
    const settings *s = chosen;
    (void)epoch;
    return step < s->period ? (1 + ls_cos(pi * (double)step / (double)s->period)) / 2 : 0;
}

const ls_schedule_class ls_cosine_schedule = {
    .choice = {.name = "cosine",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
