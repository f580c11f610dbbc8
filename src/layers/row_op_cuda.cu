/* Flatten, global average pooling and the sum of residual blocks: a thread an element of what is written. */
#include "core/kernel_cuda.h"

#include "layers/row_op_cuda.h"

enum { THREADS = 128 };

/* Rows and elements of this thread. */
#define EACH_ELEMENT(r, row, i, length)                                                                      \
    for (int row = (r).first + (int)blockIdx.y; row < (r).last; row += (int)gridDim.y)                       \
        for (int i = (int)ls_thread(); i < (length); i += (int)ls_stride())

__global__ void __launch_bounds__(THREADS, 1) k_flatten_forward(ls_cuda_rows r) {
    const int length = r.pixels * r.channels;
    EACH_ELEMENT(r, row, i, length) {
        const int c = i / r.pixels, p = i % r.pixels;
        r.to[(size_t)row * length + i] = r.from[(size_t)row * length + p * r.channels + c];
    }
}

__global__ void __launch_bounds__(THREADS, 1) k_flatten_backward(ls_cuda_rows r) {
    const int length = r.pixels * r.channels;
    EACH_ELEMENT(r, row, i, length) {
        const int p = i / r.channels, c = i % r.channels;
        const float g = r.from[(size_t)row * length + c * r.pixels + p];
        float *to = r.to + (size_t)row * length + i;
        *to = r.accumulate ? *to + g : g;
    }
}

__global__ void __launch_bounds__(THREADS, 1) k_global_average_pool_forward(ls_cuda_rows r) {
    EACH_ELEMENT(r, row, c, r.channels) {
        const float *x = r.from + (size_t)row * r.pixels * r.channels + c;
        double sum = 0;
        for (int p = 0; p < r.pixels; p++) sum += (double)x[(size_t)p * r.channels];
        r.to[(size_t)row * r.channels + c] = (float)(sum / (double)r.pixels);
    }
}

__global__ void __launch_bounds__(THREADS, 1) k_global_average_pool_backward(ls_cuda_rows r) {
    const int length = r.pixels * r.channels;
    EACH_ELEMENT(r, row, i, length) {
        const float g = r.from[(size_t)row * r.channels + i % r.channels] / (float)r.pixels;
        float *to = r.to + (size_t)row * length + i;
        *to = r.accumulate ? *to + g : g;
    }
}

__global__ void __launch_bounds__(THREADS, 1)
    k_residual_forward(const float *a, const float *b, int64_t count, float *y) {
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) y[i] = a[i] + b[i];
}

__global__ void __launch_bounds__(THREADS, 1)
    k_residual_backward(const float *dy, bool accumulate, int64_t count, float *dx) {
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) dx[i] = accumulate ? dx[i] + dy[i] : dy[i];
}

static dim3 grid_of(int elements, const ls_cuda_rows *r) {
    const int rows = r->last - r->first;
    return dim3(ls_blocks(elements, THREADS).x, (unsigned)(rows < 65535 ? rows : 65535));
}

void ls_flatten_forward_cuda(struct ls_device *device, const ls_cuda_rows *r) {
    if (r->first == r->last) return;
    LS_LAUNCH(device, k_flatten_forward, grid_of(r->pixels * r->channels, r), THREADS, 0, *r);
}
void ls_flatten_backward_cuda(struct ls_device *device, const ls_cuda_rows *r) {
    if (r->first == r->last) return;
    LS_LAUNCH(device, k_flatten_backward, grid_of(r->pixels * r->channels, r), THREADS, 0, *r);
}
void ls_global_average_pool_forward_cuda(struct ls_device *device, const ls_cuda_rows *r) {
    if (r->first == r->last) return;
    LS_LAUNCH(device, k_global_average_pool_forward, grid_of(r->channels, r), THREADS, 0, *r);
}
void ls_global_average_pool_backward_cuda(struct ls_device *device, const ls_cuda_rows *r) {
    if (r->first == r->last) return;
    LS_LAUNCH(device, k_global_average_pool_backward, grid_of(r->pixels * r->channels, r), THREADS, 0, *r);
}
void ls_residual_forward_cuda(struct ls_device *device, const float *a, const float *b, int64_t first,
                              int64_t last, float *y) {
    const int64_t count = last - first;
    if (count == 0) return;
    LS_LAUNCH(device, k_residual_forward, ls_blocks(count, THREADS), THREADS, 0, a + first, b + first, count,
              y + first);
}
void ls_residual_backward_cuda(struct ls_device *device, const float *dy, bool accumulate, int64_t first,
                               int64_t last, float *dx) {
    const int64_t count = last - first;
    if (count == 0) return;
    LS_LAUNCH(device, k_residual_backward, ls_blocks(count, THREADS), THREADS, 0, dy + first, accumulate,
              count, dx + first);
}
