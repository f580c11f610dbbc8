/* What schedules with an end share: the key `horizon`, in steps. A run may go on behind it, at the last
 * rate. */
#ifndef LOCKSTEP_MODEL_SCHEDULES_HORIZON_H
#define LOCKSTEP_MODEL_SCHEDULES_HORIZON_H

#include <stddef.h>

#include "model/schedule.h"

/* Rows of a class's keys, for a struct `settings` with members of these names. */
#define LS_HORIZON_KEY                                                                                       \
    {                                                                                                        \
        .name = "horizon", .type = LS_KEY_INT, .effect = LS_KEY_RESULT,                                      \
        .offset = offsetof(settings, horizon), .min = 1, .max = 4294967295.0,                                \
        .help = "steps until the learning rate has come to its end"                                          \
    }
#define LS_FLOOR_KEY                                                                                         \
    {                                                                                                        \
        .name = "floor", .type = LS_KEY_REAL, .effect = LS_KEY_RESULT, .offset = offsetof(settings, floor),  \
        .initial = "0", .max = 1, .help = "share of the learning rate that is left at the horizon"           \
    }

/* From 0 at the first step to 1 at the horizon and behind it. */
static inline double ls_way_to_horizon(int64_t step, int64_t horizon) {
    return step < horizon ? (double)step / (double)horizon : 1;
}

#endif
