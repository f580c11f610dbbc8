/* Distances in units in the last place: how many representable numbers further. The bit patterns of IEEE 754
 * numbers of one sign are ordered as integers; negative ones are mirrored, so that -0 and +0 fall together
 * and the distance of x and nextafter(x, y) is 1 everywhere, from the largest finite number to infinity too.
 */
#ifndef LOCKSTEP_INSPECT_ULP_H
#define LOCKSTEP_INSPECT_ULP_H

#include <stdbool.h>
#include <stdint.h>

#include "io/record.h"

/* How two numbers of the same type differ. */
typedef struct ls_distance {
    bool equal;      /* bit by bit */
    bool comparable; /* false: one is NaN, and they are not the same bits */
    uint64_t ulp;    /* of integers: their difference; 0 for -0 and +0 */
    double absolute;
} ls_distance;

ls_distance ls_distance_f32(float a, float b);
ls_distance ls_distance_f64(double a, double b);

/* Of element `index` of two records of the same type. */
ls_distance ls_distance_at(const ls_record *a, const ls_record *b, int64_t index);

#endif
