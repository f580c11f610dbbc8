/* y and dx' by direct sums, for kernels of any size, stride and padding.
 *
 * dx' of a stride is taken phase by phase: its pixels phase + stride q meet every stride-th tap alone, and
 * neighbours q meet neighbouring pixels of dy. So y and each phase of dx' are the same sum over taps, along
 * lines and along columns (struct walk). A block has a rectangle of such pixels of one image and up to 64
 * columns (outputs of y, inputs of dx'); the pixels that it reads lie in shared memory, zeros outside the
 * image. A thread has 4 neighbouring pixels and 4 columns, whose sums stay in its registers: each is a chain
 * of its own over u, v and the terms. What does not fit into shared memory is read where it lies. */
#include "layers/conv2d/conv2d_products_cuda.h"

enum { PIXELS = 4, COLUMNS = 4, BLOCK_COLUMNS = 64, MOST_THREADS = 256, MOST_SHARED = 48 * 1024 };

/* Pixel q of `count` in one direction is pixel first + step q of the result, and its tap t of `taps`, tap
 * number tap + tap_step t of the kernel, meets pixel from + from_step q + from_tap t of what is read. */
struct walk {
    int count, first, step, from, from_step, from_tap, taps, tap, tap_step;
};

__host__ __device__ static inline walk forward_walk(int count, int kernel, int stride, int pad) {
    return {count, 0, 1, -pad, stride, 1, kernel, 0, 1};
}
/* One phase of dx'. */
__host__ __device__ static inline walk backward_walk(int size, int kernel, int stride, int pad, int phase) {
    const int tap = (phase + pad) % stride;
    return {size > phase ? divide_up(size - phase, stride) : 0,
            phase,
            stride,
            (phase + pad - tap) / stride,
            1,
            -1,
            tap < kernel ? divide_up(kernel - tap, stride) : 0,
            tap,
            stride};
}
__host__ __device__ static inline walk lines_of(const ls_conv2d_cuda_product &p, int phase) {
    return p.back ? backward_walk(p.to_height, p.kernel_h, p.stride, p.pad, phase)
                  : forward_walk(p.to_height, p.kernel_h, p.stride, p.pad);
}
__host__ __device__ static inline walk columns_of(const ls_conv2d_cuda_product &p, int phase) {
    return p.back ? backward_walk(p.to_width, p.kernel_w, p.stride, p.pad, phase)
                  : forward_walk(p.to_width, p.kernel_w, p.stride, p.pad);
}

/* A block's rectangle: lines x groups of PIXELS pixels, and columns. */
struct rectangle {
    int lines, groups, columns;
};

/* How many pixels `count` pixels of the result read in one direction, and the first of them. */
__host__ __device__ static inline int reach(const walk &w, int count) {
    return w.taps == 0 ? 0 : (count - 1) * w.from_step + w.taps;
}
__device__ static inline int lowest(const walk &w, int q) {
    return w.from + w.from_step * q + (w.from_tap < 0 ? 1 - w.taps : 0);
}

/* Floats from a pixel in shared memory to the next: neighbours begin in different banks. */
__host__ __device__ static inline int pixel_step(int terms) {
    return terms % 4 ? terms : terms + 4;
}

/* VECTOR terms from p. */
template <int VECTOR> __device__ __forceinline__ void load_terms(const float *p, float *to) {
    if constexpr (VECTOR == 4) {
        const float4 v = *(const float4 *)p;
        to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else {
        to[0] = *p;
    }
}

/* The chains of PIXELS pixels and COLUMNS columns over the terms of a tap. */
template <int VECTOR>
__device__ __forceinline__ void add_tap(const float *from, int step, int terms, const float *w, int padded,
                                        float sum[PIXELS][COLUMNS]) {
    for (int term = 0; term < terms; term += VECTOR) {
        float x[PIXELS][VECTOR];
        UNROLL
        for (int q = 0; q < PIXELS; q++) load_terms<VECTOR>(from + q * step + term, x[q]);
        UNROLL
        for (int j = 0; j < VECTOR; j++, w += padded) {
            const float4 k = *(const float4 *)w;
            UNROLL
            for (int q = 0; q < PIXELS; q++) {
                sum[q][0] = fmaf(x[q][j], k.x, sum[q][0]);
                sum[q][1] = fmaf(x[q][j], k.y, sum[q][1]);
                sum[q][2] = fmaf(x[q][j], k.z, sum[q][2]);
                sum[q][3] = fmaf(x[q][j], k.w, sum[q][3]);
            }
        }
    }
}

/* Stores a rectangle of sums, [lines][groups PIXELS][columns] in shared memory. */
template <class Store>
__device__ __forceinline__ void store_rectangle(const ls_conv2d_cuda_product &p, const Store &store, int row,
                                                const walk &lines, const walk &columns, int line, int pixel,
                                                rectangle r, int first_column, const float *sums) {
    const int each = r.groups * PIXELS * r.columns;
    for (int i = threadIdx.x; i < r.lines * each; i += blockDim.x) {
        const int k = i % r.columns, j = pixel + i % each / r.columns, h = line + i / each;
        if (h >= lines.count || j >= columns.count || first_column + k >= p.columns) continue;
        const int at = (lines.first + lines.step * h) * p.to_width + columns.first + columns.step * j;
        store(row, at * p.columns + first_column + k, first_column + k, sums[i]);
    }
}

/* Grid: rectangles of a phase, images and phases, blocks of columns. */
template <int VECTOR, class Load, class Store>
__global__ void __launch_bounds__(MOST_THREADS, 1)
    k_direct(ls_conv2d_cuda_product p, Load load, Store store, rectangle r, int across) {
    DYN_SHARED(float, room);
    const int phases = p.back ? p.stride * p.stride : 1;
    const int phase = blockIdx.y % phases, padded = p.padded;
    const int row = p.first + (int)blockIdx.y / phases;
    const walk lines = lines_of(p, phase / p.stride), columns = columns_of(p, phase % p.stride);
    const int line = blockIdx.x / across * r.lines, pixel = blockIdx.x % across * (r.groups * PIXELS);
    if (line >= lines.count || pixel >= columns.count) return; /* the whole block */
    const int first_column = blockIdx.z * BLOCK_COLUMNS, step = pixel_step(p.terms);
    const int high = reach(lines, r.lines), wide = reach(columns, r.groups * PIXELS);
    const int top = lowest(lines, line), left = lowest(columns, pixel);
    for (int i = threadIdx.x; i < high * wide * p.terms; i += blockDim.x) {
        const int term = i % p.terms, at = i / p.terms, h = top + at / wide, w = left + at % wide;
        const bool inside = h >= 0 && h < p.from_height && w >= 0 && w < p.from_width;
        room[at * step + term] = inside ? load(row, (h * p.from_width + w) * p.terms + term, term) : 0;
    }
    __syncthreads();
    const int fours = r.columns / COLUMNS, k = threadIdx.x % fours * COLUMNS, place = threadIdx.x / fours;
    const int my_line = place / r.groups, my_pixel = place % r.groups * PIXELS;
    const bool active = my_line < r.lines && first_column + k < padded;
    float sum[PIXELS][COLUMNS] = {};
    if (active)
        for (int u = 0; u < lines.taps; u++)
            for (int v = 0; v < columns.taps; v++) {
                const int h = lines.from + lines.from_step * (line + my_line) + lines.from_tap * u - top;
                const int w =
                    columns.from + columns.from_step * (pixel + my_pixel) + columns.from_tap * v - left;
                const int64_t tap = (int64_t)(lines.tap + lines.tap_step * u) * p.kernel_w + columns.tap +
                                    columns.tap_step * v;
                add_tap<VECTOR>(room + (h * wide + w) * step, columns.from_step * step, p.terms,
                                p.weights + tap * p.terms * padded + first_column + k, padded, sum);
            }
    __syncthreads();
    if (active) UNROLL
    for (int q = 0; q < PIXELS; q++)
        *(float4 *)(room + ((my_line * r.groups * PIXELS) + my_pixel + q) * r.columns + k) =
            make_float4(sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
    __syncthreads();
    store_rectangle(p, store, row, lines, columns, line, pixel, r, first_column, room);
}

/* The same without shared memory and phases: a thread has an element. */
template <class Load, class Store>
__global__ void __launch_bounds__(MOST_THREADS, 1)
    k_direct_far(ls_conv2d_cuda_product p, Load load, Store store) {
    const int64_t each = (int64_t)p.to_height * p.to_width * p.columns;
    const int padded = p.padded;
    for (int64_t i = ls_thread(); i < p.rows * each; i += ls_stride()) {
        const int e = (int)(i % each), k = e % p.columns, at = e / p.columns;
        const int row = p.first + (int)(i / each);
        const int h = at / p.to_width, w = at % p.to_width;
        const walk lines = lines_of(p, p.back ? h % p.stride : 0),
                   columns = columns_of(p, p.back ? w % p.stride : 0);
        float sum = 0;
        for (int u = 0; u < lines.taps; u++)
            for (int v = 0; v < columns.taps; v++) {
                const int y = lines.from + lines.from_step * (h / lines.step) + lines.from_tap * u;
                const int x = columns.from + columns.from_step * (w / columns.step) + columns.from_tap * v;
                if (y < 0 || y >= p.from_height || x < 0 || x >= p.from_width) continue;
                const int64_t tap = (int64_t)(lines.tap + lines.tap_step * u) * p.kernel_w + columns.tap +
                                    columns.tap_step * v;
                const float *weight = p.weights + tap * p.terms * padded + k;
                for (int term = 0; term < p.terms; term++)
                    sum = fmaf(load(row, (y * p.from_width + x) * p.terms + term, term),
                               weight[(int64_t)term * padded], sum);
            }
        store(row, e, k, sum);
    }
}

/* The weights for it: [taps][terms][padded]. */
__global__ void __launch_bounds__(MOST_THREADS, 1)
    k_direct_weights(ls_conv2d_cuda_product p, const float *weight, float *to) {
    const int padded = p.padded;
    const int64_t all = (int64_t)p.kernel_h * p.kernel_w * p.terms * padded;
    for (int64_t i = ls_thread(); i < all; i += ls_stride()) {
        const int column = (int)(i % padded), term = (int)(i / padded % p.terms);
        const int64_t tap = i / padded / p.terms;
        const int64_t at = p.back ? (tap * p.columns + column) * p.terms + term
                                  : (tap * p.terms + term) * p.columns + column;
        to[i] = column < p.columns ? ls_factor(weight[at], p.rounded) : 0;
    }
}

/* --- launchers --------------------------------------------------------------------------------- */

static int smaller(int a, int b) {
    return a < b ? a : b;
}
static int larger(int a, int b) {
    return a > b ? a : b;
}

/* Bytes of shared memory of a block with this rectangle, of any phase: those of phase 0 and of that with most
 * taps, which is the one that the padding begins. */
static int64_t shared_bytes(const ls_conv2d_cuda_product &p, rectangle r) {
    int64_t most = (int64_t)r.lines * r.groups * PIXELS * r.columns;
    const int phases = p.back ? p.stride : 1;
    const int taps_h = p.back ? divide_up(p.kernel_h, phases) : p.kernel_h;
    const int taps_w = p.back ? divide_up(p.kernel_w, phases) : p.kernel_w;
    const int64_t step = p.back ? 1 : p.stride;
    const int64_t high = (r.lines - 1) * step + taps_h, wide = (r.groups * PIXELS - 1) * step + taps_w;
    const int64_t read = high * wide * pixel_step(p.terms);
    if (read > most) most = read;
    return most * (int64_t)sizeof(float);
}

/* As large as shared memory and the number of threads allow; 0 lines: nothing fits. */
static rectangle choose(const ls_conv2d_cuda_product &p) {
    const int phases = p.back ? p.stride : 1;
    const int height = divide_up(p.to_height, phases), width = divide_up(p.to_width, phases);
    rectangle r = {1, smaller(divide_up(width, PIXELS), 8), smaller(p.padded, BLOCK_COLUMNS)};
    while (r.groups > 1 && shared_bytes(p, r) > MOST_SHARED) r.groups = divide_up(r.groups, 2);
    if (shared_bytes(p, r) > MOST_SHARED) return {0, 0, 0};
    for (rectangle next = r; next.lines < height; r = next) {
        next.lines++;
        if (next.lines * next.groups * (next.columns / COLUMNS) > MOST_THREADS) break;
        if (shared_bytes(p, next) > MOST_SHARED) break;
    }
    return r;
}

template <class Load, class Store>
static void multiply(struct ls_device *device, const ls_conv2d_cuda_product &p, const Load &load,
                     const Store &store) {
    enum { MOST_PHASES = 8 }; /* in a direction, that have blocks of their own */
    const rectangle r = choose(p);
    if (r.lines == 0 || (p.back && p.stride > MOST_PHASES)) {
        const int64_t all = (int64_t)p.rows * p.to_height * p.to_width * p.columns;
        LS_LAUNCH(device, (k_direct_far<Load, Store>), ls_blocks(all, MOST_THREADS), MOST_THREADS, 0, p, load,
                  store);
        return;
    }
    const int phases = p.back ? p.stride : 1,
              across = divide_up(divide_up(p.to_width, phases), r.groups * PIXELS);
    const int down = divide_up(divide_up(p.to_height, phases), r.lines);
    const int threads = larger(32, divide_up(r.lines * r.groups * (r.columns / COLUMNS), 32) * 32);
    const size_t shared = (size_t)shared_bytes(p, r);
    const int most = 65535 / (phases * phases); /* of the grid's y */
    for (int done = 0; done < p.rows; done += most) {
        ls_conv2d_cuda_product part = p;
        part.first = p.first + done;
        part.rows = p.rows - done < most ? p.rows - done : most;
        const dim3 grid((unsigned)(across * down), (unsigned)(part.rows * phases * phases),
                        (unsigned)divide_up(p.columns, BLOCK_COLUMNS));
        if (p.terms % 4 == 0)
            LS_LAUNCH(device, (k_direct<4, Load, Store>), grid, threads, shared, part, load, store, r,
                      across);
        else
            LS_LAUNCH(device, (k_direct<1, Load, Store>), grid, threads, shared, part, load, store, r,
                      across);
    }
}

void ls_conv2d_cuda_direct(struct ls_device *device, const ls_conv2d_cuda_product *p,
                           const ls_conv2d_cuda_forward *forward, const ls_conv2d_cuda_backward *backward) {
    with_load_and_store(p, forward, backward, [=](const auto &load, const auto &store) {
        multiply(device, *p, load, store);
    });
}

void ls_conv2d_cuda_direct_weights(struct ls_device *device, const ls_conv2d_cuda_product *p,
                                   const float *weight, float *to) {
    LS_LAUNCH(device, k_direct_weights, ls_blocks(ls_conv2d_cuda_weights_size(p), MOST_THREADS), MOST_THREADS,
              0, *p, weight, to);
}
