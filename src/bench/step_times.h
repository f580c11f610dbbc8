/* Where the time of a training step goes. */
#ifndef LOCKSTEP_BENCH_STEP_TIMES_H
#define LOCKSTEP_BENCH_STEP_TIMES_H

#include "bench/spread.h"
#include "train/timeline.h"

/* Of a rank's step, on the thread that runs it. Communication has the waiting for other ranks in it, what is
 * left (other) the waiting for other threads. */
typedef enum ls_step_phase {
    LS_PHASE_DATA,
    LS_PHASE_FORWARD,
    LS_PHASE_BACKWARD,
    LS_PHASE_COMMUNICATION,
    LS_PHASE_UPDATE,
    LS_PHASE_OTHER,
    LS_STEP_PHASES
} ls_step_phase;

extern const char *const ls_step_phase_names[LS_STEP_PHASES];

typedef enum ls_pass { LS_PASS_FORWARD, LS_PASS_BACKWARD, LS_PASS_WEIGHT_GRAD, LS_PASSES } ls_pass;

/* Seconds of every timed step, [steps] each; those of phases and passes are this rank's own until
 * ls_step_times_combine(). */
typedef struct ls_step_times {
    int64_t steps, counted; /* that ran; that were full batches, which alone are kept */
    int ops;
    int exchanges;                   /* sums over the ranks at cuts, in a step */
    double *seconds;                 /* of the slowest rank */
    double *processor;               /* of all ranks */
    double *phases;                  /* [phase][steps] */
    double *passes;                  /* [op][pass][steps]: mean over threads */
    ls_spread phase[LS_STEP_PHASES]; /* over ranks, of each one's median over steps */
    double *pass;                    /* [op][pass]: mean over ranks, median over steps */
} ls_step_times;

ls_status ls_step_times_create(int64_t steps, int ops, ls_step_times *times);
void ls_step_times_destroy(ls_step_times *times);

/* Takes in a step that began and ended then, with its spans of all threads from `from[thread]` on. Local. */
void ls_step_times_add(ls_step_times *times, const ls_timeline *timeline, const int64_t *from, int threads,
                       const ls_graph *graph, double begin, double end, double processor);

/* Over the ranks, once all steps are done. Collective. */
ls_status ls_step_times_combine(ls_step_times *times, ls_comm *comm);

#endif
