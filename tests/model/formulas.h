/* Optimizers and schedules once more, each formula in double as its source has it: what tests hold the library
 * against. A class that has none here fails, by name. */
#ifndef LOCKSTEP_TESTS_MODEL_FORMULAS_H
#define LOCKSTEP_TESTS_MODEL_FORMULAS_H

#include "model/optimizer.h"
#include "model/schedule.h"

/* By how much times the rate the element w of so many parameters falls at step `step` (1, 2, ..), where the
 * gradient of the loss is g: decay included. Sets the element's moments. */
double formula_direction(const ls_optimizer *optimizer, uint64_t step, double parameters, double w, double g,
                         double *m, double *v);
/* The factor of the learning rate where so many steps and epochs are done. */
double formula_factor(const ls_schedule *schedule, int64_t step, int64_t epoch);

#endif
