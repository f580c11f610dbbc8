/* Instance normalisation: a thread has a channel of a row and goes over its pixels in order, in double. */
#include "core/kernel_cuda.h"

#include "layers/instance_norm/instance_norm_cuda.h"
#include "layers/tree_cuda.h"

enum { THREADS = 128, WEIGHT_THREADS = 64, LEVELS = 8 };

/* Channel c of a row. */
struct plane {
    int c;
    size_t at; /* of its first pixel */
    double *mean, *inverse, *k;
};

__device__ __forceinline__ plane plane_of(const ls_cuda_instance_norm &a, int row, int c) {
    double *moments = a.moments + (size_t)row * 3 * a.channels + c;
    return {c, (size_t)row * a.pixels * a.channels + c, moments, moments + a.channels,
            moments + 2 * a.channels};
}

__device__ __forceinline__ void find_moments(const ls_cuda_instance_norm &a, const plane &p) {
    const float *x = a.x + p.at;
    const double pixels = (double)a.pixels, origin = (double)x[0];
    double sum = 0, squares = 0;
    for (int i = 0; i < a.pixels; i++) sum += (double)x[(size_t)i * a.channels] - origin;
    const double mean = origin + sum / pixels;
    for (int i = 0; i < a.pixels; i++) {
        const double d = (double)x[(size_t)i * a.channels] - mean;
        squares += d * d;
    }
    const double variance = squares / pixels, sigma = sqrt(variance);
    const double s = a.in_root ? sqrt(variance + a.eps) : sigma + a.eps;
    *p.mean = mean;
    *p.inverse = 1 / s;
    *p.k = a.in_root ? 1 / (variance + a.eps) : sigma > 0 ? 1 / (s * sigma) : 0;
}

__device__ __forceinline__ double scale_of(const ls_cuda_instance_norm &a, const plane &p) {
    return a.gamma ? (double)a.gamma[p.c] * *p.inverse : *p.inverse;
}

/* Sums over the pixels of dy and dy (x - mu). */
struct products {
    double sum, product;
};

__device__ __forceinline__ products sum_products(const ls_cuda_instance_norm &a, const plane &p) {
    const double mean = *p.mean;
    products s = {0, 0};
    for (int i = 0; i < a.pixels; i++) {
        const size_t at = p.at + (size_t)i * a.channels;
        const double g = (double)a.dy[at];
        s.sum += g;
        s.product += g * ((double)a.x[at] - mean);
    }
    return s;
}

__global__ void __launch_bounds__(THREADS, 1)
    k_instance_norm_forward(ls_cuda_instance_norm a, int first, int last) {
    for (int64_t i = ls_thread(); i < (int64_t)(last - first) * a.channels; i += ls_stride()) {
        const plane p = plane_of(a, first + (int)(i / a.channels), (int)(i % a.channels));
        find_moments(a, p);
        const double scale = scale_of(a, p), shift = a.beta ? (double)a.beta[p.c] : 0, mean = *p.mean;
        for (int j = 0; j < a.pixels; j++) {
            const size_t at = p.at + (size_t)j * a.channels;
            a.y[at] = (float)(((double)a.x[at] - mean) * scale + shift);
        }
    }
}

__global__ void __launch_bounds__(THREADS, 1)
    k_instance_norm_backward(ls_cuda_instance_norm a, int first, int last) {
    for (int64_t i = ls_thread(); i < (int64_t)(last - first) * a.channels; i += ls_stride()) {
        const plane p = plane_of(a, first + (int)(i / a.channels), (int)(i % a.channels));
        const products s = sum_products(a, p);
        const double scale = *p.k == 0 ? 0 : scale_of(a, p), mean = *p.mean;
        const double sum = s.sum / (double)a.pixels, product = s.product * (*p.k / (double)a.pixels);
        for (int j = 0; j < a.pixels; j++) {
            const size_t at = p.at + (size_t)j * a.channels;
            const double d = (double)a.x[at] - mean;
            const float g = (float)(((double)a.dy[at] - sum - d * product) * scale);
            a.dx[at] = a.accumulate ? a.dx[at] + g : g;
        }
    }
}

/* A block a channel, a thread a row at a time; thread 0 adds dgamma's rows, thread 1 those of dbeta. */
__global__ void __launch_bounds__(WEIGHT_THREADS, 1)
    k_instance_norm_weight_grad(ls_cuda_instance_norm a, ls_cuda_shards node) {
    LS_SHARED(double, part, [2][WEIGHT_THREADS]);
    const int t = (int)threadIdx.x, c = (int)blockIdx.x;
    float pending[LEVELS][1], sum[1] = {0};
    for (int s = 0; s < node.count; s++) {
        double total = 0;
        for (int row = node.start[s]; row < node.start[s + 1]; row += WEIGHT_THREADS) {
            const int rows = min((int)WEIGHT_THREADS, node.start[s + 1] - row);
            if (t < rows) {
                const plane p = plane_of(a, row + t, c);
                const products of_row = sum_products(a, p);
                part[0][t] = of_row.product * *p.inverse;
                part[1][t] = of_row.sum;
            }
            __syncthreads();
            if (t < 2)
                for (int r = 0; r < rows; r++) total += part[t][r];
            __syncthreads();
        }
        sum[0] = (float)total;
        ls_merge_leaf<LEVELS, 1>(s, sum, pending);
    }
    if (t < 2) (t == 0 ? a.dgamma : a.dbeta)[c] = sum[0];
}

void ls_instance_norm_forward_cuda(struct ls_device *device, const ls_cuda_instance_norm *a, int first,
                                   int last) {
    const dim3 grid = ls_blocks((int64_t)(last - first) * a->channels, THREADS);
    if (first < last) LS_LAUNCH(device, k_instance_norm_forward, grid, THREADS, 0, *a, first, last);
}

void ls_instance_norm_backward_cuda(struct ls_device *device, const ls_cuda_instance_norm *a, int first,
                                    int last) {
    const dim3 grid = ls_blocks((int64_t)(last - first) * a->channels, THREADS);
    if (first < last) LS_LAUNCH(device, k_instance_norm_backward, grid, THREADS, 0, *a, first, last);
}

void ls_instance_norm_weight_grad_cuda(struct ls_device *device, const ls_cuda_instance_norm *a,
                                       const ls_cuda_shards *node) {
    LS_LAUNCH(device, k_instance_norm_weight_grad, (unsigned)a->channels, WEIGHT_THREADS, 0, *a, *node);
}
