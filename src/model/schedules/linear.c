/* A straight line (PyTorch's LinearLR from 1 to `floor`): with s the share of the horizon that is done,
 *
 *     f = 1 - (1 - floor) s
 */
#include "model/schedules/horizon.h"

typedef struct settings {
    int64_t horizon;
    double floor;
} settings;

static const ls_key keys[] = {LS_HORIZON_KEY, LS_FLOOR_KEY};

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    const settings *s = chosen;
    (void)epoch;
    return 1 - (1 - s->floor) * ls_way_to_horizon(step, s->horizon);
}

const ls_schedule_class ls_linear_schedule = {
    .choice = {.name = "linear",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
