/* The update of the parameters, element by element over the flat arenas.
 *
 * With g the gradient of the loss plus decay w, where
 *
 *     decay = 2 l2_mean / N + weight_decay
 *
 * stands for the mean-square L2 term over all N parameters and for PyTorch's weight decay (of which a class may
 * take care itself: decay_apart), every optimizer does
 *
 *     w -= rate d(g, w, m, v)
 *
 * with d its own, and m and v its moments. The rate is that of the schedule (schedule.h), rounded once, as
 * are all numbers of a step. An optimizer is a class: one file in optimizers/, and one line in the list of
 * optimizer.c. */
#ifndef LOCKSTEP_MODEL_OPTIMIZER_H
#define LOCKSTEP_MODEL_OPTIMIZER_H

#include "core/keys.h"
#include "core/lane.h"
#include "core/now.h"
#include "graph/parameters.h"
#include "io/config.h"

struct ls_optimizer_class;

enum { LS_UPDATE_SCALARS = LS_NOW_SCALARS, LS_UPDATE_DECAY = LS_UPDATE_SCALARS - 1 };

/* The numbers of one update, computed in double. */
typedef struct ls_update {
    const struct ls_optimizer_class *class;
    double rate, decay;
    double
        scalars[LS_UPDATE_SCALARS]; /* the class's own; with decay_apart [LS_UPDATE_DECAY] is weight_decay */
} ls_update;

/* Sums of the bits of parameters and moments, as integers of an element's size, modulo 2^32 or 2^64: any one
 * flipped bit changes them. */
typedef struct ls_bit_sums {
    uint64_t before, after; /* an update */
} ls_bit_sums;

/* Kernels over contiguous elements; m and v are NULL where the class has no such moments. */
typedef struct ls_update_kernels {
    /* On a device the sums are waited for. */
    ls_bit_sums (*apply)(const ls_update *update, int64_t count, void *w, const void *g, void *m, void *v,
                         const ls_lane *lane);
    /* On a device alone: the same with the numbers that are in `now`, in its memory, unless its verdict says
     * no. The sums stay there, where they are compared with those of the update before. */
    void (*apply_now)(struct ls_now *now, int64_t count, void *w, const void *g, void *m, void *v,
                      const ls_lane *lane);
} ls_update_kernels;

typedef struct ls_optimizer_class {
    ls_key_class choice; /* name and keys; the first member, so that the list of choices leads here */
    int moments;         /* 0, 1 or 2 */
    bool decay_apart;    /* weight_decay is not part of g, but d's */
    /* What the kernels need at step `step` (1, 2, ..); NULL: nothing. `scalars` comes zeroed. */
    void (*scalars)(const void *settings, uint64_t step, double scalars[LS_UPDATE_SCALARS]);
    const ls_update_kernels *(*kernels)(const ls_backend *backend);
} ls_optimizer_class;

/* The choices of the key `optimizer`. */
extern ls_key_classes ls_optimizers;
/* Adds an optimizer from outside: as ls_key_class_add(). LS_USAGE also: it lacks something. */
ls_status ls_optimizer_register(const ls_optimizer_class *class);
/* How many moments the optimizer of that place in the list keeps. */
int ls_optimizer_moments(int choice);

typedef struct ls_optimizer {
    const ls_optimizer_class *class;
    void *settings; /* the class's own struct */
    double l2_mean, weight_decay;
} ls_optimizer;

/* The optimizer of that name, with the class's defaults but for what the words KEY=VALUE say; decay is 0.
 * LS_USAGE: no such name or key, or a wrong value. ls_optimizer_destroy() also after a failure. Local. */
ls_status ls_optimizer_create(const char *name, const char *const *words, int count, ls_optimizer *optimizer);
/* The one that a configuration chooses, but for l2_mean and weight_decay, which stay 0. Local. */
ls_status ls_optimizer_read(const ls_config *config, ls_optimizer *optimizer);
void ls_optimizer_destroy(ls_optimizer *optimizer);

/* The numbers of step `step` (1, 2, ..) at that learning rate, for a model of `parameters` parameters. */
ls_update ls_optimizer_step(const ls_optimizer *optimizer, double rate, uint64_t step, int64_t parameters);

/* Updates arena elements [first, last); sums of theirs. Local; any split over threads gives the same bits. */
ls_bit_sums ls_optimizer_apply(const ls_update *update, ls_parameters *parameters, int64_t first,
                               int64_t last);

/* Updates all elements on a device, by and into `now`, in its memory; in stream order. Local. */
void ls_optimizer_apply_now(const ls_optimizer *optimizer, ls_parameters *parameters, struct ls_now *now);
/* The numbers of an update as a device reads them. */
void ls_update_inputs(const ls_update *update, ls_now_inputs *inputs);

/* The same sum of elements that are not updated. Local. */
uint64_t ls_optimizer_sum(const ls_parameters *parameters, int64_t first, int64_t last);

typedef struct ls_bit_sum_kernels {
    uint64_t (*sum)(int64_t count, const void *elements, const ls_lane *lane);
} ls_bit_sum_kernels;
LS_KERNELS(ls_bit_sum_kernels, ls_bit_sum_ref);

#endif
