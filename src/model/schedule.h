/* The learning rate of each step:
 *
 *     rate = lr f(step, epoch) min(1, t / warmup) / t^decay_power,  t = step + 1
 *
 * where step counts the steps and epoch the epochs that are done before it, and f is the schedule's factor. A
 * schedule is a class: one file in schedules/, and one line in the list of schedule.c. */
#ifndef LOCKSTEP_MODEL_SCHEDULE_H
#define LOCKSTEP_MODEL_SCHEDULE_H

#include "core/keys.h"
#include "io/config.h"

typedef struct ls_schedule_class {
    ls_key_class choice; /* name and keys; the first member, so that the list of choices leads here */
    double (*factor)(const void *settings, int64_t step, int64_t epoch);
} ls_schedule_class;

/* The choices of the key `schedule`. */
extern ls_key_classes ls_schedules;
/* Adds a schedule from outside: as ls_key_class_add(). LS_USAGE also: it lacks something. */
ls_status ls_schedule_register(const ls_schedule_class *class);

typedef struct ls_schedule {
    const ls_schedule_class *class;
    void *settings; /* the class's own struct */
    double lr, decay_power;
    int64_t warmup; /* steps; 0: none */
} ls_schedule;

/* The schedule of that name, with the class's defaults but for what the words KEY=VALUE say; lr, decay_power
 * and warmup are 0. LS_USAGE: no such name or key, or a wrong value. ls_schedule_destroy() also after a
 * failure. Local. */
ls_status ls_schedule_create(const char *name, const char *const *words, int count, ls_schedule *schedule);
/* The one that a configuration chooses, but for lr, decay_power and warmup, which stay 0. Local. */
ls_status ls_schedule_read(const ls_config *config, ls_schedule *schedule);
void ls_schedule_destroy(ls_schedule *schedule);

double ls_schedule_rate(const ls_schedule *schedule, int64_t step, int64_t epoch);

#endif
