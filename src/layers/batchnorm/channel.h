/* What statistics do to one channel, for the CPU and for kernels of CUDA; layers/batchnorm/statistics.h says
 * what the numbers are. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_CHANNEL_H
#define LOCKSTEP_LAYERS_BATCHNORM_CHANNEL_H

#include "core/dual.h"

typedef enum ls_statistics_kind {
    LS_STATISTICS_EXPONENTIAL,
    LS_STATISTICS_CUMULATIVE,
    LS_STATISTICS_DATASET
} ls_statistics_kind;

/* Mean and biased variance from sums; the variance is at least 0. The sums are exact to about 2^-53, so the
 * variance loses (mean^2 / variance) 2^-53 of itself: far below fp32's rounding for anything that an fp32
 * input can hold. */
LS_DUAL_INLINE void ls_moments_from_sums(double sum, double sum_of_squares, double elements, double *mean,
                                         double *variance) {
    *mean = sum / elements;
    double v = sum_of_squares / elements - *mean * *mean;
    *variance = v > 0 ? v : 0;
}

/* A batch of that mean and variance; not for LS_STATISTICS_DATASET. */
LS_DUAL_INLINE void ls_channel_update(int kind, double momentum, double mean, double variance,
                                      double elements, double *first, double *second, double *third) {
    if (kind == LS_STATISTICS_CUMULATIVE) {
        *first += mean;
        *second += mean * mean;
        *third += variance;
    } else {
        double unbiased = elements > 1 ? variance * (elements / (elements - 1)) : variance;
        *first = (1 - momentum) * *first + momentum * mean;
        *second = (1 - momentum) * *second + momentum * unbiased;
    }
}

/* Mean and variance to evaluate with, after `count` updates (dataset: elements). */
LS_DUAL_INLINE void ls_channel_evaluate(int kind, double count, double first, double second, double third,
                                        double *mean, double *variance) {
    *mean = 0;
    *variance = 1;
    if (kind == LS_STATISTICS_EXPONENTIAL) {
        *mean = first;
        *variance = second;
    } else if (count > 0) {
        ls_moments_from_sums(first, second, count, mean, variance);
        if (kind == LS_STATISTICS_CUMULATIVE) *variance += third / count;
    }
}

#endif
