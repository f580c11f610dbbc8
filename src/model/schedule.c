/* The list of all schedules, and what they share. */
#include "model/schedule.h"

#include <stdlib.h>

#include "core/elementary.h"

/* The list: a new schedule is a line here, with the name of its file in schedules/. */
#define SCHEDULES(X)                                                                                         \
    X(constant)                                                                                              \
    X(multistep)                                                                                             \
    X(exponential)                                                                                           \
    X(cosine)                                                                                                \
    X(linear)                                                                                                \
    X(one_cycle)

#define X(name) extern const ls_schedule_class ls_##name##_schedule;
SCHEDULES(X)
#undef X

#define X(name)   &ls_##name##_schedule.choice,
#define ONE(name) +1
ls_key_classes ls_schedules = {{SCHEDULES(X)}, 0 SCHEDULES(ONE)};
#undef X
#undef ONE

static const ls_schedule_class *class_of(const ls_key_class *choice) {
    return (const ls_schedule_class *)choice; /* its first member */
}

ls_status ls_schedule_register(const ls_schedule_class *class) {
    if (!class->factor) return ls_fail(LS_USAGE, "schedule %s: expected a factor", class->choice.name);
    return ls_key_class_add(&ls_schedules, "schedule", &class->choice);
}

ls_status ls_schedule_create(const char *name, const char *const *words, int count, ls_schedule *schedule) {
    const ls_key_class *choice;
    *schedule = (ls_schedule){0};
    LS_TRY(ls_key_class_create(&ls_schedules, "schedule", name, words, count, &choice, &schedule->settings));
    schedule->class = class_of(choice);
    return LS_OK;
}

ls_status ls_schedule_read(const ls_config *config, ls_schedule *schedule) {
    const ls_key_class *choice;
    *schedule = (ls_schedule){0};
    LS_TRY(ls_config_class(config, "schedule", &choice, &schedule->settings));
    schedule->class = class_of(choice);
    return LS_OK;
}

void ls_schedule_destroy(ls_schedule *schedule) {
    if (schedule->class) ls_keys_free(&schedule->class->choice.keys, schedule->settings);
    free(schedule->settings);
    *schedule = (ls_schedule){0};
}

double ls_schedule_rate(const ls_schedule *schedule, int64_t step, int64_t epoch) {
    double rate = schedule->lr * schedule->class->factor(schedule->settings, step, epoch);
    if (step + 1 < schedule->warmup) rate *= (double)(step + 1) / (double)schedule->warmup;
    return schedule->decay_power > 0 ? rate / ls_pow((double)(step + 1), schedule->decay_power) : rate;
}
