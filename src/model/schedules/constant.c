/* f = 1: the learning rate stays as it is. */
#include "model/schedule.h"

static double factor(const void *settings, int64_t step, int64_t epoch) {
    (void)settings, (void)step, (void)epoch;
    return 1;
}

const ls_schedule_class ls_constant_schedule = {.choice = {.name = "constant"}, .factor = factor};
