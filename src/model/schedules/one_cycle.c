/* One cycle (Smith and Topin, 2018; PyTorch's OneCycleLR with cosines, whose max_lr is our lr). With H the
 * horizon and the top at step p = peak H - 1, by half a cosine each,
 *
 *     f = 1 / start_divisor  at step 0,  1 at step p,  1 / (start_divisor end_divisor)  at step H - 1
 *
 * and that from there on. Where p is not above 0 there is no way up. */
#include "core/elementary.h"
#include "model/schedules/horizon.h"

typedef struct settings {
    int64_t horizon;
    double peak, start_divisor, end_divisor;
} settings;

static const ls_key keys[] = {
    LS_HORIZON_KEY,
    {.name = "peak",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, peak),
     .initial = "0.3",
     .max = 1,
     .help = "share of the horizon after which the learning rate is highest, at lr"},
    {.name = "start_divisor",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, start_divisor),
     .initial = "25",
     .min = 1,
     .max = 1e9,
     .help = "lr over the first learning rate"},
    {.name = "end_divisor",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(settings, end_divisor),
     .initial = "10000",
     .min = 1,
     .max = 1e9,
     .help = "the first learning rate over the last"},
};

/* From a to b on half a cosine, s from 0 to 1. */
static double anneal(double a, double b, double s) {
    static const double pi = 3.14159265358979323846;
    return b + (a - b) / 2 * (1 + ls_cos(pi * s));
}

static double factor(const void *chosen, int64_t step, int64_t epoch) {
    const settings *s = chosen;
    const double first = 1 / s->start_divisor, last = first / s->end_divisor, at = (double)step;
    const double top = s->peak * (double)s->horizon - 1, end = (double)s->horizon - 1;
    (void)epoch;
    if (at >= end) return last;
    return at <= top ? anneal(first, 1, top > 0 ? at / top : 1)
                     : anneal(1, last, (at - (top > 0 ? top : 0)) / (end - (top > 0 ? top : 0)));
}

const ls_schedule_class ls_one_cycle_schedule = {
    .choice = {.name = "one_cycle",
               .keys = {keys, sizeof keys / sizeof *keys},
               .settings_size = sizeof(settings)},
    .factor = factor,
};
