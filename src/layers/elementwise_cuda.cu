/* Element by element: what is not folded into the loads and stores of a product. A block row takes a row, a
 * thread N of its elements. */
#include "core/kernel_cuda.h"

#include "layers/elementwise_cuda.h"
#include "layers/batchnorm/cut_cuda.h"
#include "core/last_block_cuda.h"

using ls_activations::all_ones;

enum { THREADS = 128 };

/* Rows and elements of this thread. */
#define EACH_VALUE(row, first, last, element, N, length)                                                     \
    for (int row = (first) + (int)blockIdx.y; row < (last); row += (int)gridDim.y)                           \
        for (int element = (int)ls_thread() * (N); element < (length); element += (int)ls_stride() * (N))

template <int N>
__global__ void __launch_bounds__(THREADS)
    k_elementwise_forward(ls_cuda_prologue p, int first, int last, void *out, bool narrow) {
    EACH_VALUE(row, first, last, element, N, p.length) {
        const size_t at = (size_t)row * p.length + element;
        const ls_values<N> x = ls_prologue_values<all_ones, N>(p, row, element, element % p.channels);
        if (p.stored) ls_put<N>(p.stored, at, p.narrow, x);
        ls_put<N>(out, at, narrow, x);
    }
}

template <int N>
__global__ void __launch_bounds__(THREADS)
    k_elementwise_backward(ls_cuda_prologue p, ls_cuda_grad_epilogue e, int first, int last, const void *dx,
                           bool narrow) {
    EACH_VALUE(row, first, last, element, N, p.length) {
        const ls_values<N> g = ls_fetch<N>(dx, (size_t)row * p.length + element, narrow);
        ls_grad_epilogue_values<all_ones, N>(p, e, row, element, element % p.channels, g);
    }
}

/* The same, a block an image; sums are of what it has stored. */
enum { SUM_THREADS = 256 };
template <int N>
__global__ void __launch_bounds__(SUM_THREADS, 1)
    k_elementwise_backward_sums(ls_cuda_prologue p, ls_cuda_grad_epilogue e, ls_cuda_elementwise_sums s,
                                const void *dx, bool narrow, unsigned *counter) {
    DYN_SHARED(double, line);
    const int lines = p.length / p.channels / p.width;
    const int first = s.shards.start[0], last = s.shards.start[s.shards.count];
    for (int row = first + (int)blockIdx.x; row < last; row += (int)gridDim.x) {
        const size_t pixel = (size_t)row * lines * p.width;
        double image = 0, residual = 0;
        for (int element = (int)threadIdx.x * N; element < p.length; element += SUM_THREADS * N) {
            const ls_values<N> g = ls_fetch<N>(dx, (size_t)row * p.length + element, narrow);
            ls_grad_epilogue_values<all_ones, N>(p, e, row, element, element % p.channels, g);
        }
        __syncthreads();
        if (s.sums.sums)
            ls_add_gradients(ls_summed_of(p, e), pixel, lines, p.width, p.channels, 0, p.channels, line,
                             image);
        if (s.residual_sums.sums)
            ls_add_gradients(ls_summed_of_residual(p, e), pixel, lines, p.width, p.channels, 0, p.channels,
                             line, residual);
        if (s.sums.sums) ls_store_image(s.sums, row, p.channels, 0, p.channels, image);
        if (s.residual_sums.sums) ls_store_image(s.residual_sums, row, p.channels, 0, p.channels, residual);
    }
    if (!ls_last_block(counter, gridDim.x)) return;
    ls_finish_gradients(s.sums, s.norm, p.channels, s.shards);
    ls_finish_gradients(s.residual_sums, s.residual_norm, p.channels, s.shards);
}

template <int N>
__global__ void __launch_bounds__(THREADS)
    k_elementwise_gradient(ls_cuda_grad_prologue p, bool accumulate, int first, int last, void *out,
                           bool narrow) {
    EACH_VALUE(row, first, last, element, N, p.length) {
        const ls_values<N> g = ls_grad_prologue_values<N>(p, row, element, element % p.channels);
        ls_store_gradient<N>(out, narrow, accumulate, (size_t)row * p.length + element, g);
    }
}

static dim3 grid_of(int length, int at_once, int rows) {
    return dim3(ls_blocks(length / at_once, THREADS).x, (unsigned)(rows < 65535 ? rows : 65535));
}

void ls_elementwise_forward_cuda(struct ls_device *device, const ls_cuda_prologue *p, int first, int last,
                                 void *out, bool narrow) {
    const int n = ls_values_at_once(p->channels);
    if (first == last) return;
    const dim3 grid = grid_of(p->length, n, last - first);
    if (n == 4)
        LS_LAUNCH(device, k_elementwise_forward<4>, grid, THREADS, 0, *p, first, last, out, narrow);
    else
        LS_LAUNCH(device, k_elementwise_forward<1>, grid, THREADS, 0, *p, first, last, out, narrow);
}

void ls_elementwise_backward_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                  const ls_cuda_grad_epilogue *e, int first, int last, const void *dx,
                                  bool narrow) {
    const int n = ls_values_at_once(p->channels);
    if (first == last) return;
    const dim3 grid = grid_of(p->length, n, last - first);
    if (n == 4)
        LS_LAUNCH(device, k_elementwise_backward<4>, grid, THREADS, 0, *p, *e, first, last, dx, narrow);
    else
        LS_LAUNCH(device, k_elementwise_backward<1>, grid, THREADS, 0, *p, *e, first, last, dx, narrow);
}

void ls_elementwise_backward_sums_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                       const ls_cuda_grad_epilogue *e, const ls_cuda_elementwise_sums *s,
                                       const void *dx, bool narrow) {
    const int rows = s->shards.start[s->shards.count] - s->shards.start[0];
    const size_t shared = (size_t)(p->length / p->width) * 2 * sizeof(double);
    const dim3 grid((unsigned)(rows < 1 ? 1 : rows < 65535 ? rows : 65535));
    if (ls_values_at_once(p->channels) == 4)
        LS_LAUNCH(device, k_elementwise_backward_sums<4>, grid, SUM_THREADS, shared, *p, *e, *s, dx, narrow,
                  ls_device_counters(device));
    else
        LS_LAUNCH(device, k_elementwise_backward_sums<1>, grid, SUM_THREADS, shared, *p, *e, *s, dx, narrow,
                  ls_device_counters(device));
}

void ls_elementwise_gradient_cuda(struct ls_device *device, const ls_cuda_grad_prologue *p, bool accumulate,
                                  int first, int last, void *out, bool narrow) {
    const int n = ls_values_at_once(p->channels);
    if (first == last) return;
    const dim3 grid = grid_of(p->length, n, last - first);
    if (n == 4)
        LS_LAUNCH(device, k_elementwise_gradient<4>, grid, THREADS, 0, *p, accumulate, first, last, out,
                  narrow);
    else
        LS_LAUNCH(device, k_elementwise_gradient<1>, grid, THREADS, 0, *p, accumulate, first, last, out,
                  narrow);
}
