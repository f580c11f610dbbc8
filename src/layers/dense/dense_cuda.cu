/* The dense layer. An element of y and of dx' is one chain of fused multiply-adds over its terms in increasing
 * order; one of dw is a chain over the rows of each shard, and the tree over the shards. */
#include "core/kernel_cuda.h"

#include "layers/batchnorm/sums_cuda.h"
#include "layers/dense/dense_cuda.h"
#include "layers/fusion_cuda.h"
#include "layers/tree_cuda.h"

using ls_activations::cheap_ones;

/* --- y and dx' ----------------------------------------------------------------------------------------- */

enum {
    TILE = 32,  /* rows and columns of a block .. */
    DEPTH = 16, /* .. and terms that it stages at a time */
    EACH = 4,   /* rows and columns of a thread */
    THREADS = TILE / EACH * (TILE / EACH)
};

struct __align__(16) stage {
    float a[DEPTH][TILE + EACH], b[DEPTH][TILE + EACH]; /* term by term; padded against bank conflicts */
};

struct __align__(16) patch {
    float v[EACH][EACH];
};

/* sum += terms [0, terms) of the stage, for the patch at (r, c) of the tile. */
__device__ __forceinline__ void multiply_stage(const stage &s, int terms, int r, int c, patch &sum) {
    if (terms == DEPTH) {
        UNROLL
        for (int t = 0; t < DEPTH; t++) {
            const ls_values<4> a = ls_load<4>(&s.a[t][r]), b = ls_load<4>(&s.b[t][c]);
            UNROLL
            for (int m = 0; m < EACH; m++) UNROLL
            for (int n = 0; n < EACH; n++) sum.v[m][n] = fmaf(a.v[m], b.v[n], sum.v[m][n]);
        }
    } else {
        for (int t = 0; t < terms; t++) UNROLL
        for (int m = 0; m < EACH; m++) UNROLL
        for (int n = 0; n < EACH; n++) sum.v[m][n] = fmaf(s.a[t][r + m], s.b[t][c + n], sum.v[m][n]);
    }
}

/* x' of the tile's rows and terms from `term` on, zeros beyond; stored by the first column of blocks. */
template <int N>
__device__ __forceinline__ void stage_inputs(const ls_cuda_dense &d, int row, int term, stage &s) {
    for (int i = (int)threadIdx.x; i < TILE * DEPTH / N; i += THREADS) {
        const int t = i % (DEPTH / N) * N, r = i / (DEPTH / N);
        ls_values<N> x = {};
        if (row + r < d.last && term + t < d.inputs) {
            x = ls_prologue_values<cheap_ones, N>(d.in, row + r, term + t, (term + t) % d.in.channels);
            if (d.in.stored && blockIdx.x == 0)
                ls_put<N>(d.in.stored, (size_t)(row + r) * d.inputs + term + t, false, x);
        }
        UNROLL
        for (int n = 0; n < N; n++) s.a[t + n][r] = ls_factor(x.v[n], d.rounded);
    }
}

/* dy of an element, through its prologue. */
__device__ __forceinline__ float gradient_at(const ls_cuda_grad_prologue &dy, int row, int element) {
    return ls_grad_prologue_values<1>(dy, row, element, element % dy.channels).v[0];
}

template <int N>
__global__ void __launch_bounds__(THREADS, 1) k_dense_forward(ls_cuda_dense d, unsigned *counters) {
    LS_SHARED(stage, s, [1]);
    const int row = d.first + (int)blockIdx.y * TILE, column = (int)blockIdx.x * TILE;
    const int r = (int)threadIdx.x / (TILE / EACH) * EACH, c = (int)threadIdx.x % (TILE / EACH) * EACH;
    patch sum = {};
    for (int term = 0; term < d.inputs; term += DEPTH) {
        __syncthreads();
        stage_inputs<N>(d, row, term, s[0]);
        for (int i = (int)threadIdx.x; i < TILE * DEPTH; i += THREADS) {
            const int t = i / TILE, k = i % TILE;
            s[0].b[t][k] = term + t < d.inputs && column + k < d.outputs
                               ? ls_factor(d.weight[(size_t)(term + t) * d.outputs + column + k], d.rounded)
                               : 0;
        }
        __syncthreads();
        multiply_stage(s[0], min((int)DEPTH, d.inputs - term), r, c, sum);
    }
    UNROLL
    for (int m = 0; m < EACH; m++) UNROLL
    for (int n = 0; n < EACH; n++) {
        if (row + r + m >= d.last || column + c + n >= d.outputs) continue;
        float y = sum.v[m][n] + 0.0f;
        if (d.bias) y = y + d.bias[column + c + n];
        d.y[(size_t)(row + r + m) * d.outputs + column + c + n] = y;
    }
    ls_sums_of_rows<false>(d.sums, d.shards, column, column + TILE, counters + blockIdx.x, gridDim.y);
}

template <int N>
__global__ void __launch_bounds__(THREADS, 1) k_dense_backward(ls_cuda_dense_back d, unsigned *counters) {
    LS_SHARED(stage, s, [1]);
    const int row = d.first + (int)blockIdx.y * TILE, column = (int)blockIdx.x * TILE;
    const int r = (int)threadIdx.x / (TILE / EACH) * EACH, c = (int)threadIdx.x % (TILE / EACH) * EACH;
    patch sum = {};
    for (int term = 0; term < d.outputs; term += DEPTH) {
        __syncthreads();
        for (int i = (int)threadIdx.x; i < TILE * DEPTH; i += THREADS) {
            const int t = i % DEPTH, j = i / DEPTH;
            const bool there = term + t < d.outputs;
            s[0].a[t][j] =
                there && row + j < d.last ? ls_factor(gradient_at(d.dy, row + j, term + t), d.rounded) : 0;
            s[0].b[t][j] = there && column + j < d.inputs
                               ? ls_factor(d.weight[(size_t)(column + j) * d.outputs + term + t], d.rounded)
                               : 0;
        }
        __syncthreads();
        multiply_stage(s[0], min((int)DEPTH, d.outputs - term), r, c, sum);
    }
    UNROLL
    for (int m = 0; m < EACH; m++) UNROLL
    for (int n = 0; n < EACH; n += N) {
        if (row + r + m >= d.last || column + c + n >= d.inputs) continue;
        ls_values<N> dx;
        UNROLL
        for (int k = 0; k < N; k++) dx.v[k] = sum.v[m][n + k];
        ls_grad_epilogue_values<cheap_ones, N>(d.in, d.dx, row + r + m, column + c + n,
                                               (column + c + n) % d.in.channels, dx);
    }
    ls_sums_of_rows<true>(d.sums, d.shards, column, column + TILE, counters + blockIdx.x, gridDim.y);
}

/* --- weight gradient ----------------------------------------------------------------------------------- */

enum { ROWS = 16, SIDE = 16, WEIGHT_THREADS = SIDE * SIDE };

/* Of a block of SIDE x SIDE threads with E x E sums each. */
template <int E> struct __align__(16) rows_stage {
    float x[ROWS][SIDE * E], dy[ROWS][SIDE * E];
};
/* x' of input c; an input of ones behind the last makes the bias's gradient */
__device__ __forceinline__ float input_of(const ls_cuda_dense_weights &d, int row, int c) {
    return c < d.inputs ? ls_factor(d.x[(size_t)row * d.inputs + c], d.rounded) : c == d.inputs ? 1 : 0;
}

/* The thread's sums over rows [first, last), from 0. */
template <int E>
__device__ __forceinline__ void sum_rows(const ls_cuda_dense_weights &d, int first, int last,
                                         rows_stage<E> &s, float (&sum)[E * E]) {
    const int input = (int)blockIdx.y * SIDE * E, output = (int)blockIdx.x * SIDE * E;
    const int c = (int)threadIdx.x / SIDE * E, k = (int)threadIdx.x % SIDE * E;
    UNROLL
    for (int m = 0; m < E * E; m++) sum[m] = 0;
    for (int row = first; row < last; row += ROWS) {
        const int rows = min((int)ROWS, last - row);
        __syncthreads();
        for (int i = (int)threadIdx.x; i < rows * SIDE * E; i += WEIGHT_THREADS) {
            const int n = i / (SIDE * E), j = i % (SIDE * E);
            s.x[n][j] = input_of(d, row + n, input + j);
            s.dy[n][j] =
                output + j < d.outputs ? ls_factor(gradient_at(d.dy, row + n, output + j), d.rounded) : 0;
        }
        __syncthreads();
        for (int n = 0; n < rows; n++) {
            float x[E], dy[E];
            UNROLL
            for (int m = 0; m < E; m++) x[m] = s.x[n][c + m], dy[m] = s.dy[n][k + m];
            UNROLL
            for (int m = 0; m < E * E; m++) sum[m] = fmaf(x[m / E], dy[m % E], sum[m]);
        }
    }
}

/* Of a node of at most 2^LEVELS shards. */
template <int LEVELS, int E>
__global__ void __launch_bounds__(WEIGHT_THREADS, 1)
    k_dense_weight_grad(ls_cuda_dense_jobs jobs, ls_cuda_shards node) {
    LS_SHARED(rows_stage<E>, s, [1]);
    const ls_cuda_dense_weights &d = jobs.list[blockIdx.z];
    if ((int)blockIdx.x * SIDE * E >= d.outputs || (int)blockIdx.y * SIDE * E >= d.inputs + (d.db ? 1 : 0))
        return;
    float pending[LEVELS][E * E], sum[E * E];
    for (int i = 0; i < node.count; i++) {
        sum_rows<E>(d, node.start[i], node.start[i + 1], s[0], sum);
        ls_merge_leaf<LEVELS, E * E>(i, sum, pending);
    }
    const int c = ((int)blockIdx.y * SIDE + (int)threadIdx.x / SIDE) * E,
              k = ((int)blockIdx.x * SIDE + (int)threadIdx.x % SIDE) * E;
    UNROLL
    for (int m = 0; m < E; m++) UNROLL
    for (int e = 0; e < E; e++) {
        if (k + e >= d.outputs) continue;
        if (c + m < d.inputs) d.dw[(size_t)(c + m) * d.outputs + k + e] = sum[m * E + e];
        if (c + m == d.inputs && d.db) d.db[k + e] = sum[m * E + e];
    }
}

/* --- launchers ----------------------------------------------------------------------------------------- */

static unsigned tiles(int n, int tile) {
    return (unsigned)((n + tile - 1) / tile);
}

void ls_dense_forward_cuda(struct ls_device *device, const ls_cuda_dense *d) {
    if (d->first == d->last) return;
    const dim3 grid(tiles(d->outputs, TILE), tiles(d->last - d->first, TILE));
    if (ls_values_at_once(d->in.channels) == 4)
        LS_LAUNCH(device, k_dense_forward<4>, grid, THREADS, 0, *d, ls_device_counters(device));
    else
        LS_LAUNCH(device, k_dense_forward<1>, grid, THREADS, 0, *d, ls_device_counters(device));
}

void ls_dense_backward_cuda(struct ls_device *device, const ls_cuda_dense_back *d) {
    if (d->first == d->last) return;
    const dim3 grid(tiles(d->inputs, TILE), tiles(d->last - d->first, TILE));
    if (ls_values_at_once(d->in.channels) == 4)
        LS_LAUNCH(device, k_dense_backward<4>, grid, THREADS, 0, *d, ls_device_counters(device));
    else
        LS_LAUNCH(device, k_dense_backward<1>, grid, THREADS, 0, *d, ls_device_counters(device));
}

/* The grid is that of the largest. */
void ls_dense_weight_grads_cuda(struct ls_device *device, const ls_cuda_dense_jobs *jobs,
                                const ls_cuda_shards *node) {
    const bool few = node->count <= 16;
    const int block = SIDE * (few ? 4 : 2);
    dim3 grid(1, 1, (unsigned)jobs->count);
    for (int i = 0; i < jobs->count; i++) {
        const ls_cuda_dense_weights *d = &jobs->list[i];
        grid.x = max(grid.x, tiles(d->outputs, block));
        grid.y = max(grid.y, tiles(d->inputs + (d->db ? 1 : 0), block));
    }
    if (jobs->count == 0) return;
    if (few)
        LS_LAUNCH(device, (k_dense_weight_grad<4, 4>), grid, WEIGHT_THREADS, 0, *jobs, *node);
    else
        LS_LAUNCH(device, (k_dense_weight_grad<LS_CUDA_TREE_DEPTH, 2>), grid, WEIGHT_THREADS, 0, *jobs,
                  *node);
}
