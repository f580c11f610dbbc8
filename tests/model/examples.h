/* Classes from outside the library, each in a file of its own. A name is taken once, so theirs leave those of
 * the methods to the library. */
#ifndef LOCKSTEP_TESTS_MODEL_EXAMPLES_H
#define LOCKSTEP_TESTS_MODEL_EXAMPLES_H

#include "model/optimizer.h"
#include "model/schedule.h"

extern const ls_optimizer_class ls_example_signum_optimizer;
extern const ls_schedule_class ls_example_triangle_schedule;

#endif
