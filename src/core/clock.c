#include "core/clock.h"

#include <time.h>

double ls_clock(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0; /* cannot fail with this clock (POSIX) */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
