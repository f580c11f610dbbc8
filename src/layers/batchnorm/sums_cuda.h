/* Sums of a BatchNorm in kernels that read, or have stored, what they are of; and the cut, by the last
 * block. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_SUMS_CUDA_H
#define LOCKSTEP_LAYERS_BATCHNORM_SUMS_CUDA_H

#include "core/last_block_cuda.h"
#include "layers/batchnorm/cut_cuda.h"
#include "layers/fusion_cuda.h"

struct ls_two_sums {
    double first, second;
};

/* Adds pixels [from, to) of the whole activation, of one channel. */
template <bool GRADIENT>
__device__ __forceinline__ ls_two_sums ls_pixel_sums(const ls_cuda_batchnorm_sums &a, size_t from, size_t to,
                                                     int channel, float mean) {
    ls_two_sums s = {0, 0};
    for (size_t i = from; i < to; i++) {
        const float x = ls_fetch<1>(a.x, i * a.channels + channel, a.narrow_x).v[0];
        if (GRADIENT) {
            const double g = (double)ls_fetch<1>(a.dz, i * a.channels + channel, a.narrow_dz).v[0];
            s.first += g;
            s.second += g * (double)(a.mean ? x - mean : x);
        } else {
            s.first += (double)x;
            s.second += (double)x * (double)x;
        }
    }
    return s;
}

template <bool GRADIENT>
__device__ __forceinline__ float ls_sums_mean(const ls_cuda_batchnorm_sums &a, int channel) {
    return GRADIENT && a.mean && channel < a.channels ? a.mean[channel] : 0;
}

/* Of channels [first, last), those of a block of the grid, whose sums of all shards have been written by
 * `blocks` blocks with this counter: the last of them makes the cut, where there is one to make. All threads of
 * each come. */
template <bool GRADIENT>
__device__ __forceinline__ void ls_finish_sums(const ls_cuda_batchnorm_sums &a, const ls_cuda_shards &shards,
                                               int first, int last, unsigned *counter, unsigned blocks) {
    if (!a.cut || !ls_last_block(counter, blocks)) return;
    for (int c = first + (int)threadIdx.x; c < last && c < a.channels; c += (int)blockDim.x) {
        double total[2];
        ls_sums_of_shards(a.sums, a.channels, shards.count, c, total);
        if (GRADIENT)
            ls_batchnorm_grad_cut_channel(a.backward, c, total[0], total[1]);
        else
            ls_batchnorm_cut_channel(a.forward, c, total[0], total[1]);
    }
}

/* Where an image is one pixel: the sums of channels [first, last) over each shard's rows, and their cut, by the
 * last of `blocks` blocks that have stored those channels. All threads of each come. */
template <bool GRADIENT>
__device__ __forceinline__ void ls_sums_of_rows(const ls_cuda_batchnorm_sums &a, const ls_cuda_shards &shards,
                                                int first, int last, unsigned *counter, unsigned blocks) {
    const int width = last - first;
    if (!a.sums || !ls_last_block(counter, blocks)) return;
    for (int i = (int)threadIdx.x; i < width * shards.count; i += (int)blockDim.x) {
        const int c = first + i % width, shard = i / width;
        if (c >= a.channels) continue;
        const ls_two_sums s = ls_pixel_sums<GRADIENT>(
            a, (size_t)shards.start[shard], (size_t)shards.start[shard + 1], c, ls_sums_mean<GRADIENT>(a, c));
        double *to = a.sums + (size_t)(shards.first + shard) * 2 * a.channels + c;
        to[0] = s.first;
        to[a.channels] = s.second;
    }
    __syncthreads();
    ls_finish_sums<GRADIENT>(a, shards, first, last, counter, 1);
}

#endif
