/* Time for what is measured and waited for, never for what is computed. */
#ifndef LOCKSTEP_CORE_CLOCK_H
#define LOCKSTEP_CORE_CLOCK_H

/* Seconds of a monotonic clock, from some moment on: only differences mean anything. */
double ls_clock(void);

#endif
