/* The cuts of a BatchNorm in kernels: a channel at a time, by k_batchnorm_cut, or by the last block of a kernel that
 * stores what the sums are of. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_CUT_CUDA_H
#define LOCKSTEP_LAYERS_BATCHNORM_CUT_CUDA_H

#include "core/kernel_cuda.h"

#include "core/dual_cuda.h"
#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/batchnorm/channel.h"
#include "layers/tree_cuda.h"

__device__ __forceinline__ double ls_batchnorm_scale(const float *gamma, double variance, double eps,
                                                     int channel) {
    const double inverse = 1 / sqrt(variance + eps);
    return gamma ? (double)gamma[channel] * inverse : inverse;
}

/* sum, squares: of x and x x over the batch; where it evaluates they are not read. */
__device__ __forceinline__ void ls_batchnorm_cut_channel(const ls_cuda_batchnorm_cut &a, int c, double sum,
                                                         double squares) {
    double *first = a.values + 1 + c, *second = first + a.channels, *third = second + a.channels;
    double mean, variance;
    if (a.evaluates) {
        ls_channel_evaluate(a.kind, a.values[0], *first, *second, *third, &mean, &variance);
    } else {
        ls_moments_from_sums(sum, squares, a.elements, &mean, &variance);
        const bool dataset = a.kind == LS_STATISTICS_DATASET, stays = a.now && a.now->state.halted;
        if (a.trains && !dataset && !stays)
            ls_channel_update(a.kind, a.momentum, mean, variance, a.elements, first, second, third);
        if (!a.trains && dataset) {
            *first += sum;
            *second += squares;
        }
        if (c == 0 && a.trains != dataset && !stays) a.values[0] += dataset ? a.elements : 1;
    }
    const float scale = (float)ls_batchnorm_scale(a.gamma, variance, a.eps, c);
    a.mean[c] = mean;
    a.variance[c] = variance;
    a.out_mean[c] = (float)mean;
    a.out_scale[c] = scale;
    a.out_shift[c] = a.beta ? a.beta[c] : 0;
    if (a.attacks) a.out_a[c] = scale;
}

__device__ __forceinline__ void ls_batchnorm_grad_cut_channel(const ls_cuda_batchnorm_grad_cut &g, int c,
                                                              double s1, double s2) {
    const double variance = g.variance[c];
    const double a = ls_batchnorm_scale(g.gamma, variance, g.eps, c);
    g.a[c] = (float)a;
    g.b[c] = (float)(-a * s2 / ((variance + g.eps) * g.elements));
    g.c[c] = (float)(-a * s1 / g.elements);
    if (g.dgamma) g.dgamma[c] = (float)(s2 / sqrt(variance + g.eps));
    if (g.dbeta) g.dbeta[c] = (float)s1;
}

/* --- sums without a launch of their own ---------------------------------------------------------------- */

/* Two sums of a BatchNorm over each shard [shards][2][channels], from those of its images
 * [rows][2][channels], in order from 0. By all threads of a block. */
__device__ __forceinline__ void ls_sums_of_images(const double *images, int channels,
                                                  const ls_cuda_shards &shards, double *sums) {
    const int each = 2 * channels;
    for (int i = (int)threadIdx.x; i < shards.count * each; i += (int)blockDim.x) {
        const int shard = i / each, at = i % each;
        double total = 0;
        for (int row = shards.start[shard]; row < shards.start[shard + 1]; row++)
            total += __ldcg(images + (size_t)row * each + at);
        sums[(size_t)(shards.first + shard) * each + at] = total;
    }
    __syncthreads();
}

/* Both sums of a channel over all shards, which are one node, by the tree. */
__device__ __forceinline__ void ls_sums_of_shards(const double *sums, int channels, int shards, int channel,
                                                  double (&total)[2]) {
    double pending[8][2];
    total[0] = total[1] = 0;
    for (int s = 0; s < shards; s++) {
        total[0] = sums[(size_t)s * 2 * channels + channel];
        total[1] = sums[(size_t)s * 2 * channels + channels + channel];
        ls_merge_leaf<8, 2>(s, total, pending);
    }
}

#endif
