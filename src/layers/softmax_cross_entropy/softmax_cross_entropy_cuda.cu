/* Softmax and cross entropy. Forward, a block has a shard and each warp of it a row at a time: what depends on
 * an order, the largest element and the sum, is the first lane's. */
#include "core/kernel_cuda.h"

#include "core/elementary_cuda.h"
#include "core/last_block_cuda.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy_cuda.h"
#include "layers/tree_cuda.h"

enum { WARPS = 8, THREADS = WARPS * LS_WARP, BACK_THREADS = 128 };
#define ALL_LANES 0xffffffffu

/* The first largest element; one that is not a number is larger than none. */
__device__ __forceinline__ int largest_of(const float *x, int classes) {
    int largest = 0;
    float value = x[0];
    for (int j = 1; j < classes; j++)
        if (x[j] > value) {
            largest = j;
            value = x[j];
        }
    return largest;
}

/* p of a row, by all lanes of a warp; returns the row's class. */
__device__ __forceinline__ int softmax_row(const float *x, int classes, float *p) {
    const int lane = (int)threadIdx.x % LS_WARP;
    int largest = 0;
    float sum = 0;
    if (lane == 0) largest = largest_of(x, classes);
    largest = __shfl_sync(ALL_LANES, largest, 0);
    for (int j = lane; j < classes; j += LS_WARP) p[j] = ls_expf(x[j] - x[largest]);
    __syncwarp(ALL_LANES);
    if (lane == 0)
        for (int j = 0; j < classes; j++) sum += p[j];
    sum = __shfl_sync(ALL_LANES, sum, 0);
    for (int j = lane; j < classes; j += LS_WARP) p[j] = p[j] / sum;
    __syncwarp(ALL_LANES);
    return largest;
}

/* dx of element j of a row, whose probabilities are p. */
__device__ __forceinline__ float gradient_of(const ls_cuda_softmax &a, const float *p, int label, int j) {
    const double likelihood = (double)p[label];
    double factor = a.scale;
    if (a.damped && likelihood < a.clip) factor *= likelihood / (likelihood + a.clip);
    return (float)factor * (p[j] - (float)(j == label));
}

/* A thread a sum of a node, over its shards. */
__device__ __forceinline__ void add_shards(const ls_cuda_softmax &a, const ls_cuda_softmax_nodes &nodes) {
    const int node = (int)threadIdx.x / 2, which = (int)threadIdx.x % 2;
    if (node >= nodes.count) return;
    double pending[8][1], sum[1] = {0};
    for (int i = 0; i < nodes.shards[node]; i++) {
        sum[0] = a.sums[2 * (nodes.first[node] + i) + which];
        ls_merge_leaf<8, 1>(i, sum, pending);
    }
    a.nodes[2 * node + which] = sum[0];
}

__global__ void __launch_bounds__(THREADS, 1)
    k_softmax_forward(ls_cuda_softmax a, ls_cuda_shards shards, ls_cuda_softmax_nodes nodes,
                      unsigned *counter) {
    LS_SHARED(double, losses, [WARPS]);
    LS_SHARED(int, correct, [WARPS]);
    const int t = (int)threadIdx.x, warp = t / LS_WARP, shard = (int)blockIdx.x;
    const int last = shards.start[shard + 1];
    double loss_sum = 0, correct_sum = 0; /* of the shard, thread 0's */
    for (int row = shards.start[shard]; row < last; row += WARPS) {
        if (row + warp < last) {
            const size_t at = (size_t)(row + warp) * a.classes;
            const int label = a.labels[a.sample[row + warp]];
            const int class_of = softmax_row(a.x + at, a.classes, a.probability + at);
            if (t % LS_WARP == 0) {
                const double likelihood = (double)a.probability[at + label];
                const double loss = -ls_log_e(likelihood < a.clip ? a.clip : likelihood);
                a.loss[row + warp] = (float)loss;
                losses[warp] = loss;
                correct[warp] = class_of == label;
            }
            for (int j = t % LS_WARP; a.with_gradient && j < a.classes; j += LS_WARP)
                a.dx[at + j] = gradient_of(a, a.probability + at, label, j);
        }
        __syncthreads();
        if (t == 0)
            for (int w = 0; w < WARPS && row + w < last; w++) {
                loss_sum += losses[w];
                correct_sum += correct[w];
            }
        __syncthreads();
    }
    if (t == 0) {
        a.sums[2 * (shards.first + shard)] = loss_sum;
        a.sums[2 * (shards.first + shard) + 1] = correct_sum;
    }
    if (nodes.count > 0 && ls_last_block(counter, gridDim.x)) add_shards(a, nodes);
}

__global__ void __launch_bounds__(BACK_THREADS, 1)
    k_softmax_backward(ls_cuda_softmax a, int first, int last) {
    for (int64_t i = ls_thread(); i < (int64_t)(last - first) * a.classes; i += ls_stride()) {
        const int row = first + (int)(i / a.classes), j = (int)(i % a.classes);
        const float *p = a.probability + (size_t)row * a.classes;
        a.dx[(size_t)row * a.classes + j] = gradient_of(a, p, a.labels[a.sample[row]], j);
    }
}

void ls_softmax_forward_cuda(struct ls_device *device, const ls_cuda_softmax *a, const ls_cuda_shards *shards,
                             const ls_cuda_softmax_nodes *nodes) {
    if (shards->count == 0) return;
    LS_LAUNCH(device, k_softmax_forward, (unsigned)shards->count, THREADS, 0, *a, *shards, *nodes,
              ls_device_counters(device));
}

void ls_softmax_backward_cuda(struct ls_device *device, const ls_cuda_softmax *a, int first, int last) {
    const dim3 grid = ls_blocks((int64_t)(last - first) * a->classes, BACK_THREADS);
    if (first < last) LS_LAUNCH(device, k_softmax_backward, grid, BACK_THREADS, 0, *a, first, last);
}
