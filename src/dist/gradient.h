/* The gradient of a run whose ranks train together, and the parameters as those ranks hold them: once for all
 * in a window of their host, or each its own. What becomes of a gradient that every rank has for its shards
 * (added in slices in the window, added by messages, or computed over all shards by parts) is known in here
 * alone.
 *
 * A step: the plan runs; ls_gradient_add_totals() adds the loss; ls_gradient_add() the gradient;
 * ls_gradient_agree() finds whether all are content with it; each rank updates ls_gradient_slice(); and
 * ls_gradient_published() makes that known. */
#ifndef LOCKSTEP_DIST_GRADIENT_H
#define LOCKSTEP_DIST_GRADIENT_H

#include "dist/tree_sum.h"
#include "graph/plan.h"

typedef struct ls_gradient ls_gradient;

typedef struct ls_gradient_options {
    int shards;
    int64_t batch; /* samples of the largest */
    int moments;   /* of the optimizer */
    bool window;   /* where the ranks share a host's memory */
} ls_gradient_options;

/* Lays out the parameters, all of which are declared, and allocates their arenas. Everything that it is given
 * must outlive it, and it the parameters. Collective, agreed. */
ls_status ls_gradient_create(ls_comm *comm, ls_parameters *parameters, const ls_backend *backend,
                             const ls_gradient_options *options, ls_gradient **gradient);
void ls_gradient_destroy(ls_gradient **gradient);

/* The training graph, before it is planned: it may compute gradients over all shards. Local. */
void ls_gradient_join(const ls_gradient *gradient, ls_graph *training);
/* And its plan; `doubles`: that one of its cuts adds at most. Local. */
ls_status ls_gradient_prepare(ls_gradient *gradient, ls_plan *plan, const ls_shards *shards, ls_team *team,
                              int64_t doubles);

/* For graphs: adds vectors at their cuts. Before ls_gradient_prepare() that of one rank alone. */
ls_reducer ls_gradient_reducer(ls_gradient *gradient);

/* The elements of the arenas that this rank updates: those of all ranks cover them once, or each has all. */
ls_slice ls_gradient_slice(const ls_gradient *gradient);

/* Adds the step's totals, after the plan has run. Collective. */
ls_status ls_gradient_add_totals(ls_gradient *gradient, const ls_partial *totals, int count,
                                 const ls_lane *lane);
/* Adds the gradient over all shards, into parameters->reduced, for the own slice at least. *finite: so is what
 * this rank has computed of it over all shards; the rest nobody has looked at. Collective. */
ls_status ls_gradient_add(ls_gradient *gradient, const ls_run *run, const ls_observer *observer,
                          bool *finite);
/* Instead of that, and of all that follows: the step is not taken. Collective. */
ls_status ls_gradient_drop(ls_gradient *gradient);
/* Do all ranks say yes? Then `reduced` is whole, if they share it. Collective. */
ls_status ls_gradient_agree(ls_gradient *gradient, bool own, bool *all);
/* The own slice is updated; on return all are. Collective. */
ls_status ls_gradient_published(ls_gradient *gradient);

#endif
