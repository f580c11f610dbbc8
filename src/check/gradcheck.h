/* Gradients of every layer and of the loss against central differences, in double.
 *
 * Every element of every parameter and of the input: the error |a - n| / max(|a|, |n|, 1e-3 max |n|), the
 * last maximum over all elements of the case, has to be below LS_GRADCHECK_BOUND. Differences are the
 * five-point stencil of fourth order; inputs keep away from kinks. */
#ifndef LOCKSTEP_CHECK_GRADCHECK_H
#define LOCKSTEP_CHECK_GRADCHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"
#include "graph/graph.h"

#define LS_GRADCHECK_BOUND 1e-6

/* Runs all cases, eagerly and on one thread, and prints a table to `out` (NULL: nothing); *worst is the
 * largest error. LS_DIFFERENT: a case is not below the bound, or a layer type has no case. Local. */
ls_status ls_gradcheck(FILE *out, double *worst);

struct ls_network;

/* One case: layers on an input of some shape, and a loss. */
typedef struct ls_gradcheck_case {
    const char *layer;  /* the layer type that it is a case of, or "chain", "add" or the loss */
    const char *layers; /* the YAML list of a configuration */
    int dims;
    int64_t shape[LS_MAX_DIMS]; /* of a sample */
    int shards;
    int64_t batch;
    double clip; /* of the cross entropy; below 0: the loss is a weighted sum instead */
    bool damped;
    double scale;    /* of the input, which is uniform in (-scale, scale); 0: 1 */
    double gap;      /* no input is nearer to 0 */
    const char *how; /* the expression that `wire` makes of the layers f, g, h, k */
    ls_tensor *(*wire)(const struct ls_network *network, ls_graph *graph,
                       ls_tensor *x); /* NULL: one layer after another */
} ls_gradcheck_case;

/* Runs one case, for layers from outside, and prints its row; *worst is its error. LS_DIFFERENT: it is not
 * below the bound. Local. */
ls_status ls_gradcheck_one(const ls_gradcheck_case *which, FILE *out, double *worst);

extern const ls_gradcheck_case ls_gradcheck_cases[];
extern const int ls_gradcheck_case_count;

#endif
