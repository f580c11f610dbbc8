/* Batch normalisation: sums over the pixels of a line, the lines of an image and the images of a shard, each in
 * increasing order from 0, in double; and the two cuts, a thread a channel. */
#include "core/kernel_cuda.h"

#include "core/dual_cuda.h"
#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/batchnorm/channel.h"

enum { CHANNELS = 32, LINES = 8, THREADS = CHANNELS * LINES, CUT_THREADS = 128 };

struct two_sums {
    double first, second;
};

/* Adds pixels [from, to) of the whole activation, of one channel. */
template <bool GRADIENT>
__device__ __forceinline__ two_sums pixel_sums(const ls_cuda_batchnorm_sums &a, size_t from, size_t to,
                                               int channel, float mean) {
    two_sums s = {0, 0};
    for (size_t i = from; i < to; i++) {
        const float x = a.x[i * a.channels + channel];
        if (GRADIENT) {
            const double g = (double)a.dz[i * a.channels + channel];
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
__device__ __forceinline__ float mean_of(const ls_cuda_batchnorm_sums &a, int channel) {
    return GRADIENT && a.mean && channel < a.channels ? a.mean[channel] : 0;
}

/* A block has 32 channels of one shard; LINES lines of an image at a time. */
template <bool GRADIENT>
__global__ void __launch_bounds__(THREADS, 1)
    k_batchnorm_sums(ls_cuda_batchnorm_sums a, ls_cuda_shards shards) {
    LS_SHARED(double, part, [2][LINES][CHANNELS]);
    const int c = (int)threadIdx.x % CHANNELS, w = (int)threadIdx.x / CHANNELS;
    const int channel = (int)blockIdx.x * CHANNELS + c, shard = (int)blockIdx.y;
    const int lines = a.pixels / a.width;
    const float mean = mean_of<GRADIENT>(a, channel);
    double total = 0; /* of the shard: threads of w 0 have the first sum, of w 1 the second */
    for (int row = shards.start[shard]; row < shards.start[shard + 1]; row++) {
        double image = 0;
        for (int line = 0; line < lines; line += LINES) {
            two_sums s = {0, 0};
            if (channel < a.channels && line + w < lines) {
                const size_t from = (size_t)row * a.pixels + (size_t)(line + w) * a.width;
                s = pixel_sums<GRADIENT>(a, from, from + a.width, channel, mean);
            }
            part[0][w][c] = s.first;
            part[1][w][c] = s.second;
            __syncthreads();
            if (w < 2)
                for (int k = 0; k < LINES && line + k < lines; k++) image += part[w][k][c];
            __syncthreads();
        }
        total += image;
    }
    if (w < 2 && channel < a.channels)
        a.sums[((size_t)(shards.first + shard) * 2 + w) * a.channels + channel] = total;
}

/* Where an image is one pixel: a thread a channel of a shard. */
template <bool GRADIENT>
__global__ void __launch_bounds__(CUT_THREADS, 1)
    k_batchnorm_row_sums(ls_cuda_batchnorm_sums a, ls_cuda_shards shards) {
    const int channel = (int)ls_thread(), shard = (int)blockIdx.y;
    if (channel >= a.channels) return;
    const two_sums s = pixel_sums<GRADIENT>(a, (size_t)shards.start[shard], (size_t)shards.start[shard + 1],
                                            channel, mean_of<GRADIENT>(a, channel));
    double *to = a.sums + (size_t)(shards.first + shard) * 2 * a.channels + channel;
    to[0] = s.first;
    to[a.channels] = s.second;
}

__device__ __forceinline__ double scale_of(const float *gamma, double variance, double eps, int channel) {
    const double inverse = 1 / sqrt(variance + eps);
    return gamma ? (double)gamma[channel] * inverse : inverse;
}

__global__ void __launch_bounds__(CUT_THREADS, 1) k_batchnorm_cut(ls_cuda_batchnorm_cut a) {
    const int c = (int)ls_thread();
    if (c >= a.channels) return;
    double *first = a.values + 1 + c, *second = first + a.channels, *third = second + a.channels;
    double mean, variance;
    if (a.evaluates) {
        ls_channel_evaluate(a.kind, a.values[0], *first, *second, *third, &mean, &variance);
    } else {
        const double sum = a.sums[c], squares = a.sums[a.channels + c];
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
    const float scale = (float)scale_of(a.gamma, variance, a.eps, c);
    a.mean[c] = mean;
    a.variance[c] = variance;
    a.out_mean[c] = (float)mean;
    a.out_scale[c] = scale;
    a.out_shift[c] = a.beta ? a.beta[c] : 0;
    if (a.attacks) a.out_a[c] = scale;
}

__global__ void __launch_bounds__(CUT_THREADS, 1) k_batchnorm_grad_cut(ls_cuda_batchnorm_grad_cut g) {
    const int c = (int)ls_thread();
    if (c >= g.channels) return;
    const double s1 = g.sums[c], s2 = g.sums[g.channels + c], variance = g.variance[c];
    const double a = scale_of(g.gamma, variance, g.eps, c);
    g.a[c] = (float)a;
    g.b[c] = (float)(-a * s2 / ((variance + g.eps) * g.elements));
    g.c[c] = (float)(-a * s1 / g.elements);
    if (g.dgamma) g.dgamma[c] = (float)(s2 / sqrt(variance + g.eps));
    if (g.dbeta) g.dbeta[c] = (float)s1;
}

void ls_batchnorm_sums_cuda(struct ls_device *device, const ls_cuda_batchnorm_sums *a,
                            const ls_cuda_shards *shards) {
    const bool rows = a->pixels == 1;
    const dim3 grid((unsigned)((a->channels + CHANNELS - 1) / CHANNELS), (unsigned)shards->count);
    const dim3 row_grid((unsigned)((a->channels + CUT_THREADS - 1) / CUT_THREADS), (unsigned)shards->count);
    if (shards->count == 0) return;
    if (a->dz && rows)
        LS_LAUNCH(device, k_batchnorm_row_sums<true>, row_grid, CUT_THREADS, 0, *a, *shards);
    else if (a->dz)
        LS_LAUNCH(device, k_batchnorm_sums<true>, grid, THREADS, 0, *a, *shards);
    else if (rows)
        LS_LAUNCH(device, k_batchnorm_row_sums<false>, row_grid, CUT_THREADS, 0, *a, *shards);
    else
        LS_LAUNCH(device, k_batchnorm_sums<false>, grid, THREADS, 0, *a, *shards);
}

void ls_grad_epilogue_sums_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                const ls_cuda_grad_epilogue *e, const ls_cuda_shards *shards) {
    ls_cuda_batchnorm_sums a = {};
    a.pixels = p->length / p->channels;
    a.width = p->width;
    a.channels = p->channels;
    a.x = p->x;
    a.dz = e->dz;
    a.mean = p->norm.mean;
    a.sums = e->sums;
    if (e->sums) ls_batchnorm_sums_cuda(device, &a, shards);
    if (!e->residual_sums) return;
    a.x = p->residual;
    if (e->dresidual) a.dz = e->dresidual;
    a.mean = p->residual_norm.mean;
    a.sums = e->residual_sums;
    ls_batchnorm_sums_cuda(device, &a, shards);
}

void ls_batchnorm_cut_cuda(struct ls_device *device, const ls_cuda_batchnorm_cut *a) {
    const unsigned grid = (unsigned)((a->channels + CUT_THREADS - 1) / CUT_THREADS);
    LS_LAUNCH(device, k_batchnorm_cut, grid, CUT_THREADS, 0, *a);
}

void ls_batchnorm_grad_cut_cuda(struct ls_device *device, const ls_cuda_batchnorm_grad_cut *a) {
    const unsigned grid = (unsigned)((a->channels + CUT_THREADS - 1) / CUT_THREADS);
    LS_LAUNCH(device, k_batchnorm_grad_cut, grid, CUT_THREADS, 0, *a);
}
