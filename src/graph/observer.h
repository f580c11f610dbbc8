/* Who watches a step is told when each piece of work begins and ends; where nobody does, a piece costs one
 * branch more. */
#ifndef LOCKSTEP_GRAPH_OBSERVER_H
#define LOCKSTEP_GRAPH_OBSERVER_H

#include <stdbool.h>

struct ls_op;

/* The first five are pieces of an op on one thread; what follows happens on the thread that runs the step. */
typedef enum ls_work {
    LS_WORK_SUMS,
    LS_WORK_FORWARD,
    LS_WORK_GRAD_SUMS,
    LS_WORK_BACKWARD,
    LS_WORK_WEIGHT_GRAD,
    LS_WORK_EXCHANGE, /* the sum of a cut over the ranks */
    LS_WORK_CUT,      /* what an op makes of that sum */
    LS_WORK_GRAD_CUT,
    LS_WORK_SELECT,       /* the samples of the batch */
    LS_WORK_GRADIENT_SUM, /* over the ranks */
    LS_WORK_UPDATE,
    LS_WORK_UPDATE_EXCHANGE, /* what the ranks tell each other for it: that the gradient is finite, the new
                                parameters */
    LS_WORK_COUNT
} ls_work;

typedef struct ls_observer {
    /* Called by `member` of the team at the begin and at the end of a piece; op is NULL where the work is of
     * no one op. */
    void (*see)(void *self, int member, ls_work work, const struct ls_op *op, bool begin);
    void *self;
} ls_observer;

static inline void ls_observe(const ls_observer *observer, int member, ls_work work, const struct ls_op *op,
                              bool begin) {
    if (observer) observer->see(observer->self, member, work, op, begin);
}

#endif
