/* What is done with numbers as they lie. */
#include "core/kernel_cuda.h"

#include "core/vector_cuda.h"

namespace {

enum { THREADS = 256, TREE_THREADS = 64 };

struct tree_nodes {
    int count, begin[LS_MAX_NODES], leaves[LS_MAX_NODES]; /* first leaf among the rank's own, and how many */
};

/* A block row a node, a thread an element; level by level, in place: the additions of the walk depth first. */
__global__ void __launch_bounds__(TREE_THREADS)
    k_tree(tree_nodes n, int64_t length, double *sums, double *nodes, int64_t stride) {
    const int node = (int)blockIdx.y, leaves = n.leaves[node];
    for (int64_t j = ls_thread(); j < length; j += ls_stride()) {
        double *leaf = sums + n.begin[node] * length + j;
        for (int half = 1; half < leaves; half *= 2)
            for (int s = 0; s < leaves; s += 2 * half) leaf[s * length] += leaf[(s + half) * length];
        nodes[node * stride + j] = leaf[0];
    }
}

template <class T> __global__ void __launch_bounds__(THREADS) k_fill(int64_t count, T value, T *to) {
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) to[i] = value;
}

template <class T> __global__ void __launch_bounds__(THREADS) k_add(int64_t count, const T *from, T *to) {
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) to[i] += from[i];
}

__device__ static inline uint64_t bits_of(float x) {
    return __float_as_uint(x);
}
__device__ static inline uint64_t bits_of(double x) {
    return (uint64_t)__double_as_longlong(x);
}
__device__ static inline bool is_finite(float x) {
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}
__device__ static inline bool is_finite(double x) {
    return (bits_of(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

template <class T>
__global__ void __launch_bounds__(THREADS) k_finite(int64_t count, const T *x, unsigned long long *word) {
    int bad = 0;
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) bad |= !is_finite(x[i]);
    if (__syncthreads_or(bad) && threadIdx.x == 0) atomicExch(word, 1ull);
}

/* Integers: any order gives the same sum. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    k_bits(int64_t count, const T *x, uint64_t first, unsigned long long *word) {
    LS_SHARED(unsigned long long, total, [1]);
    if (threadIdx.x == 0) total[0] = 0;
    __syncthreads();
    uint64_t sum = 0;
    for (int64_t i = ls_thread(); i < count; i += ls_stride())
        sum += (2 * (first + (uint64_t)i) + 1) * bits_of(x[i]);
    atomicAdd(&total[0], (unsigned long long)sum);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(word, total[0]);
}

} // namespace

extern "C" {
void ls_tree_cuda(struct ls_device *device, const ls_shards *shards, int64_t length, double *sums,
                  double *nodes, int64_t stride) {
    tree_nodes n = {};
    n.count = shards->node_count;
    for (int i = 0; i < n.count; i++) {
        n.begin[i] = shards->node[i].first - shards->first;
        n.leaves[i] = shards->node[i].count;
    }
    if (n.count == 0) return;
    const dim3 grid(ls_blocks(length, TREE_THREADS).x, (unsigned)n.count);
    LS_LAUNCH(device, k_tree, grid, TREE_THREADS, 0, n, length, sums, nodes, stride);
}

void ls_fill_cuda(struct ls_device *device, bool wide, int64_t count, double value, void *to) {
    const dim3 grid = ls_blocks(count, THREADS);
    if (wide)
        LS_LAUNCH(device, k_fill<double>, grid, THREADS, 0, count, value, (double *)to);
    else
        LS_LAUNCH(device, k_fill<float>, grid, THREADS, 0, count, (float)value, (float *)to);
}

void ls_add_cuda(struct ls_device *device, bool wide, int64_t count, const void *from, void *to) {
    const dim3 grid = ls_blocks(count, THREADS);
    if (wide)
        LS_LAUNCH(device, k_add<double>, grid, THREADS, 0, count, (const double *)from, (double *)to);
    else
        LS_LAUNCH(device, k_add<float>, grid, THREADS, 0, count, (const float *)from, (float *)to);
}

void ls_finite_cuda(struct ls_device *device, bool wide, int64_t count, const void *x, uint64_t *word) {
    const dim3 grid = ls_blocks(count, THREADS);
    unsigned long long *w = (unsigned long long *)word;
    if (wide)
        LS_LAUNCH(device, k_finite<double>, grid, THREADS, 0, count, (const double *)x, w);
    else
        LS_LAUNCH(device, k_finite<float>, grid, THREADS, 0, count, (const float *)x, w);
}

void ls_bits_cuda(struct ls_device *device, bool wide, int64_t count, const void *x, uint64_t first,
                  uint64_t *word) {
    const dim3 grid = ls_blocks(count, THREADS);
    unsigned long long *w = (unsigned long long *)word;
    if (wide)
        LS_LAUNCH(device, k_bits<double>, grid, THREADS, 0, count, (const double *)x, first, w);
    else
        LS_LAUNCH(device, k_bits<float>, grid, THREADS, 0, count, (const float *)x, first, w);
}
}
