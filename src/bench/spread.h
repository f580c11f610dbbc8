/* Medians with their spread. */
#ifndef LOCKSTEP_BENCH_SPREAD_H
#define LOCKSTEP_BENCH_SPREAD_H

#include <stdint.h>

#include "io/json.h"

typedef struct ls_spread {
    double min, q1, median, q3, max; /* NaN of nothing */
} ls_spread;

/* Of these numbers, which are put in order; quartiles between two of them are interpolated. */
ls_spread ls_spread_of(double *values, int64_t count);
ls_spread ls_spread_scaled(ls_spread spread, double factor);

/* {"min":, "q1":, "median":, "q3":, "max":} */
void ls_spread_write(ls_json *json, const char *key, ls_spread spread);

#endif
