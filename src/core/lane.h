/* Where a piece of work runs. Every function of a kernel table that touches numbers takes one, last. */
#ifndef LOCKSTEP_CORE_LANE_H
#define LOCKSTEP_CORE_LANE_H

struct ls_device;

typedef struct ls_lane {
    void *scratch;            /* of this thread, or of this stream; backend memory */
    struct ls_device *device; /* NULL: the CPU, where a piece is done when it returns */
} ls_lane;

#endif
