/* The update of the parameters, element by element over the flat arenas. With g the gradient of the loss,
 * plus (2 lambda / N + weight_decay) w for the mean-square L2 term over all N parameters and PyTorch's weight
 * decay: sgd       w -= lr g momentum  m = momentum m + g;  w -= lr m (PyTorch's SGD) adam      m = b1 m + (1
 * - b1) g;  v = b2 v + (1 - b2) g g;  t counts from 1 w -= lr / t^p  (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t))
 * + eps),   p = 0: Kingma and Ba, 2015 or .. / sqrt(v / (1 - b2^t) + eps) with eps inside the root: report 1,
 * algorithm 1 */
#ifndef LOCKSTEP_MODEL_OPTIMIZER_H
#define LOCKSTEP_MODEL_OPTIMIZER_H

#include "graph/parameters.h"

typedef enum ls_optimizer_kind { LS_SGD, LS_MOMENTUM, LS_ADAM } ls_optimizer_kind;

typedef struct ls_optimizer {
    int kind; /* ls_optimizer_kind */
    double momentum, beta1, beta2, epsilon;
    bool epsilon_inside;
    double decay_power, l2_mean, weight_decay;
} ls_optimizer;

/* How many moments an optimizer of that kind keeps: 0, 1 or 2. */
int ls_optimizer_moments(int kind);

/* The scalars of one update, computed in double and rounded once by the kernels. */
typedef struct ls_update {
    int kind;
    bool epsilon_inside;
    double rate;  /* lr, or lr / t^p */
    double decay; /* g += decay w */
    double momentum;
    double beta1, beta2, epsilon;
    double correction1, correction2; /* 1 / (1 - beta^t) */
} ls_update;

/* The scalars of step `step` (1, 2, ..) at learning rate lr, for a model of `parameters` parameters. */
ls_update ls_optimizer_step(const ls_optimizer *optimizer, double lr, uint64_t step, int64_t parameters);

/* Sums of the bits of parameters and moments, as integers of an element's size, modulo 2^32 or 2^64: any one
 * flipped bit changes them. */
typedef struct ls_bit_sums {
    uint64_t before, after; /* an update */
} ls_bit_sums;

/* Updates arena elements [first, last); sums of theirs. Local; any split over threads gives the same bits. */
ls_bit_sums ls_optimizer_apply(const ls_update *update, ls_parameters *parameters, int64_t first,
                               int64_t last);

/* The same sum of elements that are not updated. Local. */
uint64_t ls_optimizer_sum(const ls_parameters *parameters, int64_t first, int64_t last);

/* Kernels over contiguous elements; m and v may be NULL where the kind has none. */
typedef struct ls_update_kernels {
    ls_bit_sums (*apply)(const ls_update *update, int64_t count, void *w, const void *g, void *m, void *v);
    uint64_t (*sum)(int64_t count, const void *elements);
} ls_update_kernels;
LS_KERNELS(ls_update_kernels, ls_update_ref);

#endif
