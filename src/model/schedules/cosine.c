/* Cosine annealing without restarts (Loshchilov and Hutter, 2017, formula 5; PyTorch's CosineAnnealingLR):
 * with s the share of the horizon that is done,
 *
 *     f = floor + (1 - floor) (1 + cos(pi s)) / 2
 */
#include "core/elementary.h"
#include "model/schedules/horizon.h"

typedef struct settings {
    int64_t horizon;
    double floor;
} settings;

static const ls_key keys[] = {LS_HORIZON_KEY, LS_FLOOR_KEY};

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    static const double pi = 3.14159265358979323846;
    const settings *s = chosen;
    (void)epoch;
    return s->floor + (1 - s->floor) * (1 + ls_cos(pi * ls_way_to_horizon(step, s->horizon))) / 2;
}

const ls_schedule_class ls_cosine_schedule = {
    .choice = {.name = "cosine",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
