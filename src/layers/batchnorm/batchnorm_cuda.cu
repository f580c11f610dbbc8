/* Batch normalisation: sums over the pixels of a line, the lines of an image and the images of a shard, each in
 * increasing order from 0, in double; and the two cuts, a thread a channel. */
#include "core/kernel_cuda.h"

#include "layers/batchnorm/sums_cuda.h"

enum { CHANNELS = 32, LINES = 8, THREADS = CHANNELS * LINES, CUT_THREADS = 128 };

/* A block has 32 channels of one shard; LINES lines of an image at a time. */
template <bool GRADIENT>
__global__ void __launch_bounds__(THREADS, 1)
    k_batchnorm_sums(ls_cuda_batchnorm_sums a, ls_cuda_shards shards, unsigned *counters) {
    LS_SHARED(double, part, [2][LINES][CHANNELS]);
    const int c = (int)threadIdx.x % CHANNELS, w = (int)threadIdx.x / CHANNELS;
    const int channel = (int)blockIdx.x * CHANNELS + c, shard = (int)blockIdx.y;
    const int lines = a.pixels / a.width;
    const float mean = ls_sums_mean<GRADIENT>(a, channel);
    double total = 0; /* of the shard: threads of w 0 have the first sum, of w 1 the second */
    for (int row = shards.start[shard]; row < shards.start[shard + 1]; row++) {
        double image = 0;
        for (int line = 0; line < lines; line += LINES) {
            ls_two_sums s = {0, 0};
            if (channel < a.channels && line + w < lines) {
                const size_t from = (size_t)row * a.pixels + (size_t)(line + w) * a.width;
                s = ls_pixel_sums<GRADIENT>(a, from, from + a.width, channel, mean);
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
    const int begin = (int)blockIdx.x * CHANNELS;
    ls_finish_sums<GRADIENT>(a, shards, begin, begin + CHANNELS, counters + blockIdx.x, gridDim.y);
}

/* Where an image is one pixel: a thread a channel of a shard. */
template <bool GRADIENT>
__global__ void __launch_bounds__(CUT_THREADS, 1)
    k_batchnorm_row_sums(ls_cuda_batchnorm_sums a, ls_cuda_shards shards, unsigned *counters) {
    const int channel = (int)ls_thread(), shard = (int)blockIdx.y, begin = (int)blockIdx.x * CUT_THREADS;
    if (channel < a.channels) {
        const ls_two_sums s =
            ls_pixel_sums<GRADIENT>(a, (size_t)shards.start[shard], (size_t)shards.start[shard + 1], channel,
                                    ls_sums_mean<GRADIENT>(a, channel));
        double *to = a.sums + (size_t)(shards.first + shard) * 2 * a.channels + channel;
        to[0] = s.first;
        to[a.channels] = s.second;
    }
    ls_finish_sums<GRADIENT>(a, shards, begin, begin + CUT_THREADS, counters + blockIdx.x, gridDim.y);
}

__global__ void __launch_bounds__(CUT_THREADS, 1) k_batchnorm_cut(ls_cuda_batchnorm_cut a) {
    const int c = (int)ls_thread();
    if (c < a.channels)
        ls_batchnorm_cut_channel(a, c, a.evaluates ? 0 : a.sums[c], a.evaluates ? 0 : a.sums[a.channels + c]);
}

__global__ void __launch_bounds__(CUT_THREADS, 1) k_batchnorm_grad_cut(ls_cuda_batchnorm_grad_cut g) {
    const int c = (int)ls_thread();
    if (c < g.channels) ls_batchnorm_grad_cut_channel(g, c, g.sums[c], g.sums[g.channels + c]);
}

void ls_batchnorm_sums_cuda(struct ls_device *device, const ls_cuda_batchnorm_sums *a,
                            const ls_cuda_shards *shards) {
    const bool rows = a->pixels == 1;
    const dim3 grid((unsigned)((a->channels + CHANNELS - 1) / CHANNELS), (unsigned)shards->count);
    const dim3 row_grid((unsigned)((a->channels + CUT_THREADS - 1) / CUT_THREADS), (unsigned)shards->count);
    unsigned *counters = ls_device_counters(device);
    if (shards->count == 0) return;
    if (a->dz && rows)
        LS_LAUNCH(device, k_batchnorm_row_sums<true>, row_grid, CUT_THREADS, 0, *a, *shards, counters);
    else if (a->dz)
        LS_LAUNCH(device, k_batchnorm_sums<true>, grid, THREADS, 0, *a, *shards, counters);
    else if (rows)
        LS_LAUNCH(device, k_batchnorm_row_sums<false>, row_grid, CUT_THREADS, 0, *a, *shards, counters);
    else
        LS_LAUNCH(device, k_batchnorm_sums<false>, grid, THREADS, 0, *a, *shards, counters);
}

ls_cuda_batchnorm_sums ls_grad_epilogue_batchnorm_sums(const ls_cuda_prologue *p,
                                                       const ls_cuda_grad_epilogue *e,
                                                       const ls_cuda_batchnorm_grad_cut *cut) {
    ls_cuda_batchnorm_sums a = {};
    a.pixels = p->length / p->channels;
    a.width = p->width;
    a.channels = p->channels;
    a.x = p->x;
    a.narrow_x = p->narrow_x;
    a.dz = e->dz;
    a.narrow_dz = e->narrow_dz;
    a.mean = p->norm.mean;
    a.sums = e->sums;
    a.cut = cut != NULL;
    if (cut) a.backward = *cut;
    return a;
}

void ls_grad_epilogue_sums_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                const ls_cuda_grad_epilogue *e, const ls_cuda_shards *shards,
                                const ls_cuda_batchnorm_grad_cut *cut,
                                const ls_cuda_batchnorm_grad_cut *residual_cut) {
    ls_cuda_batchnorm_sums a = ls_grad_epilogue_batchnorm_sums(p, e, cut);
    if (e->sums) ls_batchnorm_sums_cuda(device, &a, shards);
    if (!e->residual_sums) return;
    a.x = p->residual;
    a.narrow_x = p->narrow_residual;
    if (e->dresidual) a.dz = e->dresidual, a.narrow_dz = e->narrow_dresidual;
    a.mean = p->residual_norm.mean;
    a.sums = e->residual_sums;
    a.cut = residual_cut != NULL;
    if (residual_cut) a.backward = *residual_cut;
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
