/* Ops that checks and tests put around the layers: given numbers in, any gradient at the end. */
#ifndef LOCKSTEP_CHECK_PROBE_H
#define LOCKSTEP_CHECK_PROBE_H

#include "graph/graph.h"

/* A tensor of given values [global batch][shape], of which a rank takes its own rows at every run; they must
 * outlive the graph. With requires_grad its gradient is computed. */
ls_tensor *ls_leaf(ls_graph *graph, int dims, const int64_t *shape, const double *values, bool requires_grad);

/* A loss whose gradient with respect to x is `weights` [global batch][shape of x], which must outlive the
 * graph: the sum of weight x, in double. Its output is the sum of a sample, its sum over the batch the op's
 * one partial sum. */
ls_tensor *ls_weighted_sum(ls_graph *graph, ls_tensor *x, const double *weights);

#endif
