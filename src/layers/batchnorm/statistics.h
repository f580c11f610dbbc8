/* Which mean and variance a BatchNorm evaluates with. All are kept in double. They are updated from sums over
 * the global batch, so they are the same on every rank.
 *
 *   exponential   running = (1 - momentum) running + momentum batch, with the unbiased variance of the batch,
 *                 as in PyTorch
 *   cumulative    mean: of all batch means so far. Variance: mean of the batch variances + variance of the
 *                 batch means. Each batch counts once, whatever its size. Variances are biased (the published
 *                 code of report 1)
 *   dataset       mean and biased variance of the layer's input over the whole training set. One forward pass
 *                 before an evaluation collects them. In it batches are normalised by their own statistics,
 *                 without dropout or augmentation
 *
 * values[0] is the count of updates (dataset: of elements). Behind it are three accumulators of length
 * channels:
 *
 *   exponential   running mean, running variance, unused
 *   cumulative    sum of batch means, sum of their squares, sum of batch variances
 *   dataset       sum of x, sum of x x, unused */
#ifndef LOCKSTEP_LAYERS_STATISTICS_H
#define LOCKSTEP_LAYERS_STATISTICS_H

#include "graph/parameters.h"
#include "layers/batchnorm/channel.h"

/* Initial state: no updates; exponential starts from mean 0 and variance 1. */
void ls_statistics_reset(const ls_statistics *statistics);

/* The same of those in backend memory. */
ls_status ls_statistics_begin(const ls_backend *backend, const ls_statistics *statistics);

/* Takes one training batch into account: its sums of x and of x x over `elements` elements a channel. */
void ls_statistics_update(const ls_statistics *statistics, const double *sum, const double *sum_of_squares,
                          double elements);

/* Adds one batch of a collecting pass (dataset only; no effect on the others). */
void ls_statistics_collect(const ls_statistics *statistics, const double *sum, const double *sum_of_squares,
                           double elements);

/* Mean and variance of a channel to evaluate with; (0, 1) before the first update. */
void ls_statistics_evaluate(const ls_statistics *statistics, int64_t channel, double *mean, double *variance);

#endif
