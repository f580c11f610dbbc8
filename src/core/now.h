/* A step that a device takes by itself: what it is told, in the memory of the device, and what it leaves there.
 *
 * The host fills in the inputs before each step. So a recording of the step, which repeats the same launches
 * with the same arguments, can be replayed for every other. Kernels read what changes from here, and leave
 * here what the host wants to know; nothing is read back in between. For C and for CUDA's C++. */
#ifndef LOCKSTEP_CORE_NOW_H
#define LOCKSTEP_CORE_NOW_H

#include <stdint.h>

enum { LS_NOW_SCALARS = 8 };

/* What became of a step. */
typedef enum ls_verdict {
    LS_VERDICT_TAKEN,
    LS_VERDICT_TROUBLE,  /* there was one before the step */
    LS_VERDICT_LOSS,     /* is not finite; parameters and moments are as they were */
    LS_VERDICT_GRADIENT, /* likewise, of a parameter */
} ls_verdict;

/* What the step leaves to the host. */
typedef struct ls_now_left {
    double loss, correct; /* sums over the batch */
    uint64_t before,
        after;         /* sums of the bits of parameters and moments that the update has found, and left */
    uint32_t step;     /* of the inputs: that step has left this */
    int32_t verdict;   /* ls_verdict */
    int32_t parameter; /* the first one whose gradient is not finite, or -1 */
    int32_t flipped;   /* the update has found other bits than the one before had left */
} ls_now_left;

/* What stays from step to step. */
typedef struct ls_now_state {
    uint64_t guard;  /* sum of the bits that the last update has left .. */
    int32_t guarded; /* .. which the next one is to find */
    int32_t halted;  /* a step was not taken, or bits have flipped: later ones change nothing */
    int32_t lowest;  /* parameter whose gradient is not finite, of the step at hand; INT32_MAX: none */
    int32_t unused_; /* no gap that nobody writes */
} ls_now_state;

/* What the host fills in. */
typedef struct ls_now_inputs {
    uint32_t step, epoch;                       /* as in ls_run */
    float rate, decay, scalars[LS_NOW_SCALARS]; /* of ls_update */
} ls_now_inputs;

typedef struct ls_now {
    ls_now_left left;
    ls_now_state state;
    ls_now_inputs in; /* last: the samples of the batch follow, which come with the same copy */
} ls_now;

#endif
