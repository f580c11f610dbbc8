/* A tensor in seven numbers. */
#ifndef LOCKSTEP_INSPECT_SUMMARY_H
#define LOCKSTEP_INSPECT_SUMMARY_H

#include <stdint.h>

#include "io/record.h"

/* Over the finite values; NaN where there are none. std is that of the values themselves (divided by their
 * count). */
typedef struct ls_summary {
    double min, max, mean, std;
    int64_t count, not_finite;
    double zeros; /* share of all values that are zero, 0 .. 1 */
} ls_summary;

ls_summary ls_summarise(const ls_record *record);

#endif
