/* The cuts of a BatchNorm in kernels: a channel at a time, by k_batchnorm_cut, or by the last block of a kernel
 * that stores what the sums are of. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_CUT_CUDA_H
#define LOCKSTEP_LAYERS_BATCHNORM_CUT_CUDA_H

#include "core/kernel_cuda.h"

#include "core/dual_cuda.h"
#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/batchnorm/channel.h"
#include "layers/fusion_cuda.h"
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

/* Double sums of lines in shared memory, then of the image: `line` has those of [lines][columns] channels (two:
 * of x and x x, or of dz and dz (x - mean)); value(line, pixel, column) gives what is added. */
template <class Value>
__device__ __forceinline__ void ls_add_lines(int lines, int pixels, int columns, double *line,
                                             const Value &value) {
    for (int i = (int)threadIdx.x; i < lines * columns; i += (int)blockDim.x) {
        const int c = i % columns, l = i / columns;
        double first = 0, second = 0;
        for (int p = 0; p < pixels; p++) value(l, p, c, first, second);
        line[i] = first;
        line[lines * columns + i] = second;
    }
}

/* Adds those of `line` to the image's in order; thread `which` columns + column has one of 2 columns sums, in
 * *image. */
__device__ __forceinline__ void ls_add_image(int lines, int columns, const double *line, double &image) {
    const int which = (int)threadIdx.x / columns, c = (int)threadIdx.x % columns;
    if (which < 2)
        for (int l = 0; l < lines; l++) image += line[(which * lines + l) * columns + c];
}

/* Both sums of columns [first, first + columns) of an image. */
__device__ __forceinline__ void ls_store_image(const ls_cuda_image_sums &sums, int row, int channels,
                                               int first, int columns, double image) {
    const int which = (int)threadIdx.x / columns, c = first + (int)threadIdx.x % columns;
    if (which < 2) sums.images[((size_t)row * 2 + which) * channels + c] = image;
}

/* What the gradient sums of a BatchNorm are of, as it has been stored. */
struct ls_summed {
    const void *dz, *x;
    bool narrow_dz, narrow_x;
    const float *mean;
};
__device__ __forceinline__ ls_summed ls_summed_of(const ls_cuda_prologue &p, const ls_cuda_grad_epilogue &e) {
    return {e.dz, p.x, e.narrow_dz, p.narrow_x, p.norm.mean};
}
__device__ __forceinline__ ls_summed ls_summed_of_residual(const ls_cuda_prologue &p,
                                                           const ls_cuda_grad_epilogue &e) {
    const bool own = e.dresidual != NULL;
    return {own ? e.dresidual : e.dz, p.residual, own ? e.narrow_dresidual : e.narrow_dz, p.narrow_residual,
            p.residual_norm.mean};
}

/* Adds lines from that pixel on to the sums of an image; all threads of a block, which has `room` for
 * 2 lines columns doubles. */
__device__ __forceinline__ void ls_add_gradients(const ls_summed &of, size_t pixel, int lines, int width,
                                                 int channels, int first_channel, int columns, double *room,
                                                 double &image) {
    ls_add_lines(lines, width, columns, room, [&](int l, int q, int c, double &first, double &second) {
        const size_t at = (pixel + (size_t)l * width + q) * channels + first_channel + c;
        const double g = (double)ls_fetch<1>(of.dz, at, of.narrow_dz).v[0];
        const float x = ls_fetch<1>(of.x, at, of.narrow_x).v[0];
        first += g;
        second += g * (double)(of.mean ? x - of.mean[first_channel + c] : x);
    });
    __syncthreads();
    ls_add_image(lines, columns, room, image);
    __syncthreads();
}

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

/* The last block of a backward pass: the sums of the shards, and the cut. */
__device__ __forceinline__ void ls_finish_gradients(const ls_cuda_image_sums &sums,
                                                    const ls_cuda_batchnorm_grad_cut &norm, int channels,
                                                    const ls_cuda_shards &shards) {
    if (!sums.sums) return;
    ls_sums_of_images(sums.images, channels, shards, sums.sums);
    if (!sums.cut) return;
    for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
        double total[2];
        ls_sums_of_shards(sums.sums, channels, shards.count, c, total);
        ls_batchnorm_grad_cut_channel(norm, c, total[0], total[1]);
    }
}

#endif
