/* Pooling. Forward, a thread has an element of y; backward one of dx, which asks the windows over it in
 * row-major order what they have for it, so that nothing is added by two threads. */
#include "core/kernel_cuda.h"

#include "layers/pooling_cuda.h"

enum { THREADS = 128 };

/* Lines or columns [first, last) of an image of `size` that window i reads. */
struct taps {
    int first, last;
};

__device__ __forceinline__ taps taps_of(const ls_cuda_pool &p, int i, int size) {
    const int first = i * p.stride - p.pad, last = first + p.kernel;
    return {first > 0 ? first : 0, last < size ? last : size};
}

/* Windows [first, last) of `count` that read line or column `at`. */
__device__ __forceinline__ taps windows_over(const ls_cuda_pool &p, int at, int count) {
    const int reach = at + p.pad - p.kernel + 1;
    const int first = reach > 0 ? (reach + p.stride - 1) / p.stride : 0, last = (at + p.pad) / p.stride + 1;
    return {first, last < count ? last : count};
}

/* PyTorch's comparison: of equal numbers the first stays, a NaN always wins. */
__device__ __forceinline__ bool wins(float v, float over) {
    return v > over || v != v;
}

/* The largest of a window, of one channel of an image x, and its pixel. */
struct largest {
    float value;
    int at;
};

__device__ __forceinline__ largest find_largest(const ls_cuda_pool &p, const float *x, taps lines,
                                                taps columns) {
    largest m = {x[(size_t)(lines.first * p.width + columns.first) * p.channels],
                 lines.first * p.width + columns.first};
    for (int h = lines.first; h < lines.last; h++)
        for (int w = columns.first; w < columns.last; w++) {
            const float v = x[(size_t)(h * p.width + w) * p.channels];
            if (wins(v, m.value)) m = {v, h * p.width + w};
        }
    return m;
}

__device__ __forceinline__ double add_up(const ls_cuda_pool &p, const float *x, taps lines, taps columns) {
    double sum = 0;
    for (int h = lines.first; h < lines.last; h++)
        for (int w = columns.first; w < columns.last; w++)
            sum += (double)x[(size_t)(h * p.width + w) * p.channels];
    return sum;
}

template <bool MAX>
__global__ void __launch_bounds__(THREADS, 1) k_pool_forward(ls_cuda_pool p, int first, int last) {
    const int out = p.out_height * p.out_width * p.channels;
    for (int row = first + (int)blockIdx.y; row < last; row += (int)gridDim.y)
        for (int i = (int)ls_thread(); i < out; i += (int)ls_stride()) {
            const int pixel = i / p.channels, c = i % p.channels;
            const taps lines = taps_of(p, pixel / p.out_width, p.height),
                       columns = taps_of(p, pixel % p.out_width, p.width);
            const float *x = p.x + (size_t)row * p.height * p.width * p.channels + c;
            p.y[(size_t)row * out + i] =
                MAX ? find_largest(p, x, lines, columns).value
                    : (float)(add_up(p, x, lines, columns) / (double)(p.kernel * p.kernel));
        }
}

/* What the window of these taps has for pixel `at` of value v; x is the image's channel. */
template <bool MAX>
__device__ __forceinline__ float share_of(const ls_cuda_pool &p, const float *x, int i, int j, int at,
                                          float v, float dy) {
    if (!MAX) return dy / (float)(p.kernel * p.kernel);
    const largest m = find_largest(p, x, taps_of(p, i, p.height), taps_of(p, j, p.width));
    const bool mine = p.all_ties ? v == m.value || (v != v && m.value != m.value) : at == m.at;
    return mine ? dy : 0;
}

template <bool MAX>
__global__ void __launch_bounds__(THREADS, 1) k_pool_backward(ls_cuda_pool p, int first, int last) {
    const int in = p.height * p.width * p.channels, out = p.out_height * p.out_width * p.channels;
    for (int row = first + (int)blockIdx.y; row < last; row += (int)gridDim.y)
        for (int e = (int)ls_thread(); e < in; e += (int)ls_stride()) {
            const int at = e / p.channels, c = e % p.channels;
            const taps lines = windows_over(p, at / p.width, p.out_height),
                       columns = windows_over(p, at % p.width, p.out_width);
            const float *x = MAX ? p.x + (size_t)row * in + c : NULL;
            const float v = MAX ? x[(size_t)at * p.channels] : 0;
            float g = 0;
            for (int i = lines.first; i < lines.last; i++)
                for (int j = columns.first; j < columns.last; j++)
                    g += share_of<MAX>(p, x, i, j, at, v,
                                       p.dy[(size_t)row * out + (i * p.out_width + j) * p.channels + c]);
            float *to = p.dx + (size_t)row * in + e;
            *to = p.accumulate ? *to + g : g;
        }
}

static dim3 grid_of(int elements, int rows) {
    return dim3(ls_blocks(elements, THREADS).x, (unsigned)(rows < 65535 ? rows : 65535));
}

template <bool MAX>
static void forward(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    const dim3 grid = grid_of(p->out_height * p->out_width * p->channels, last - first);
    if (first < last) LS_LAUNCH(device, k_pool_forward<MAX>, grid, THREADS, 0, *p, first, last);
}

template <bool MAX>
static void backward(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    const dim3 grid = grid_of(p->height * p->width * p->channels, last - first);
    if (first < last) LS_LAUNCH(device, k_pool_backward<MAX>, grid, THREADS, 0, *p, first, last);
}

void ls_max_pool_forward_cuda(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    forward<true>(device, p, first, last);
}
void ls_max_pool_backward_cuda(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    backward<true>(device, p, first, last);
}
void ls_average_pool_forward_cuda(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    forward<false>(device, p, first, last);
}
void ls_average_pool_backward_cuda(struct ls_device *device, const ls_cuda_pool *p, int first, int last) {
    backward<false>(device, p, first, last);
}
