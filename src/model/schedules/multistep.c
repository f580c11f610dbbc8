/* f = gamma^n, n the number of milestones that are at most the steps done (PyTorch's MultiStepLR, counted in
 * steps). */
#include "core/elementary.h"
#include "model/schedule.h"

typedef struct settings {
    ls_int_list milestones;
    double gamma;
} settings;

static const ls_key keys[] = {
    {.name = "milestones",
     .type = LS_KEY_INT_LIST,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, milestones),
     .min = 1,
     .max = 4294967295.0,
     .help = "the steps at which the learning rate falls"},
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
    uint64_t falls = 0;
    (void)epoch;
    for (int i = 0; i < s->milestones.count; i++) falls += step >= s->milestones.value[i];
    return ls_pow_int(s->gamma, falls);
}

const ls_schedule_class ls_multistep_schedule = {
    .choice = {.name = "multistep",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
