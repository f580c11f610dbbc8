/* A schedule that only tests know. Triangles (Smith, 2017): f falls from 1 to 0 in half a `period` of steps
 * and rises again in the other, f = |1 - 2 (step mod period) / period|. */
#include <math.h>

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
     .help = "steps from one height of the learning rate to the next"},
};

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    const settings *s = chosen;
    (void)epoch;
    return fabs(1 - 2 * (double)(step % s->period) / (double)s->period);
}

const ls_schedule_class ls_example_triangle_schedule = {
    .choice = {.name = "example_triangle",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
