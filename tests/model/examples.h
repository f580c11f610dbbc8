/* Classes from outside the library, each in a file of its own. */
#ifndef LOCKSTEP_TESTS_MODEL_EXAMPLES_H
#define LOCKSTEP_TESTS_MODEL_EXAMPLES_H

#include "model/optimizer.h"
#include "model/schedule.h"

extern const ls_optimizer_class ls_signum_optimizer;
extern const ls_schedule_class ls_triangle_schedule;

#endif
