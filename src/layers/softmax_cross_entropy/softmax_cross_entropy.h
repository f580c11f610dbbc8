/* Softmax and cross entropy.
 *
 *   probability         p[j] = exp(x[j] - max of x) / (sum over j of exp(x[j] - max of x))
 *   loss of a sample    -log(max(p[label], clip))
 *   loss of a batch     the mean of those
 *   gradient of x       (p - onehot) / B; with LS_CLIP_DAMPED that times p[label] / (p[label] + clip) where
 *                       p[label] < clip, as the published code of report 1 has it
 *   class               the first of the largest p */
#ifndef LOCKSTEP_LAYERS_SOFTMAX_CROSS_ENTROPY_H
#define LOCKSTEP_LAYERS_SOFTMAX_CROSS_ENTROPY_H

#include "graph/op.h"

typedef struct ls_softmax_args {
    int64_t classes;
    const void *x;          /* [rows][classes] */
    const uint8_t *labels;  /* of the data set, looked up by sample */
    const uint32_t *sample; /* [rows] */
    double clip;
    bool damped;
    void *probability;  /* [rows][classes] */
    void *loss;         /* [rows] */
    double *sums;       /* [local shards][2]: sum of losses, number of correct classes */
    void *dx;           /* [rows][classes]; backward, or with_gradient */
    double scale;       /* 1 / B; likewise */
    double *nodes;      /* [nodes][2] the sums over the shards of each node, or NULL; forward, on a device */
    bool with_gradient; /* forward writes dx too; on a device */
} ls_softmax_args;

typedef struct ls_softmax_kernels {
    void (*forward)(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    void (*backward)(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane);
} ls_softmax_kernels;

LS_KERNELS(ls_softmax_kernels, ls_softmax_ref);

/* Positions in the op's sums. */
enum { LS_LOSS_SUM, LS_CORRECT_SUM, LS_LOSS_SUMS };

/* The op; its output is the loss of each sample, [rows], and its sums the batch's. Labels are the run's data
 * set's. */
ls_tensor *ls_softmax_cross_entropy(ls_graph *graph, ls_tensor *x, double clip, bool damped);

/* p of the last run, [rows][classes], of such an op. */
const void *ls_softmax_probabilities(const ls_op *op);

#endif
