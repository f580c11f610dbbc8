/* Weight gradients of 3x3 convolutions with stride 1 by Winograd's algorithm, of every shard.
 *
 * A block has a shard, a line of T + 2 positions, and BLOCK x BLOCK channels. For SOME tiles after the
 * other its threads transform the pixels and gradients into shared memory, as far as this line of positions
 * takes them; then a thread multiplies those of one position and MINE_IN x MINE_OUT channels, whose sums
 * stay in its registers: each is a chain over all tiles of the shard. */
#include "layers/conv2d/conv2d_gradient_cuda.h"
#include "layers/conv2d/conv2d_products_cuda.h"
#include "layers/conv2d/winograd_cuda.h"

enum { BLOCK = 16, SOME = 32, MINE_IN = 4, MINE_OUT = 2 };

/* What a block works on. */
struct part {
    int shard, input, output;
    int64_t first, tiles; /* its images, and how many tiles they have */
    int across, each;     /* tiles of a line, and of an image */
};

/* The line of positions ROW of a tile for one channel of x': position q at to[q * step]. */
template <int T, int ROW>
__device__ __forceinline__ void pixels_of_line(const ls_conv2d_cuda_gradient &g, int64_t image, int tile,
                                               int across, int channel, float *to, int step) {
    enum { SIDE = T + 2 };
    const int top = tile / across * T - g.pad, left = tile % across * T - g.pad;
    const float *from = g.x + image * g.height * g.width * g.inputs + channel;
    float half[SIDE], done[SIDE];
    UNROLL
    for (int v = 0; v < SIDE; v++) {
        float d[SIDE], column[SIDE]; /* only what position ROW is made of is loaded and computed */
        UNROLL
        for (int u = 0; u < SIDE; u++) {
            const int h = top + u, w = left + v;
            const bool inside = h >= 0 && h < g.height && w >= 0 && w < g.width && channel < g.inputs;
            d[u] = inside ? ls_factor(from[((int64_t)h * g.width + w) * g.inputs], g.rounded) : 0;
        }
        winograd_pixels<T>(d, column);
        half[v] = column[ROW];
    }
    winograd_pixels<T>(half, done);
    UNROLL
    for (int q = 0; q < SIDE; q++) to[q * step] = done[q];
}

/* The same of dy. */
template <int T, int ROW>
__device__ __forceinline__ void gradients_of_line(const ls_conv2d_cuda_gradient &g, int64_t image, int tile,
                                                  int across, int channel, float *to, int step) {
    enum { SIDE = T + 2 };
    const int top = tile / across * T, left = tile % across * T;
    const float *from = g.dy + image * g.out_height * g.out_width * g.outputs + channel;
    float half[T], done[SIDE];
    UNROLL
    for (int v = 0; v < T; v++) {
        float e[T], column[SIDE];
        UNROLL
        for (int u = 0; u < T; u++) {
            const int h = top + u, w = left + v;
            const bool inside = h < g.out_height && w < g.out_width && channel < g.outputs;
            e[u] = inside ? ls_factor(from[((int64_t)h * g.out_width + w) * g.outputs], g.rounded) : 0;
        }
        winograd_gradients<T>(e, column);
        half[v] = column[ROW];
    }
    winograd_gradients<T>(half, done);
    UNROLL
    for (int q = 0; q < SIDE; q++) to[q * step] = done[q];
}

/* x, dy: [T + 2][SOME][BLOCK]. */
template <int T, int ROW>
__device__ __forceinline__ void add_line(const ls_conv2d_cuda_gradient &g, const part &p, float *x,
                                         float *dy) {
    enum { SIDE = T + 2, OUTS = BLOCK / MINE_OUT, EACH = BLOCK / MINE_IN * OUTS, THREADS = SIDE * EACH };
    const int position = threadIdx.x / EACH, c = threadIdx.x % EACH / OUTS * MINE_IN;
    const int k = threadIdx.x % OUTS * MINE_OUT;
    float sum[MINE_IN][MINE_OUT] = {};
    for (int64_t done = 0; done < p.tiles; done += SOME) {
        const int here = p.tiles - done < SOME ? (int)(p.tiles - done) : (int)SOME;
        __syncthreads();
        for (int i = threadIdx.x; i < here * BLOCK; i += THREADS) {
            const int64_t tile = done + i / BLOCK, image = p.first + tile / p.each;
            pixels_of_line<T, ROW>(g, image, (int)(tile % p.each), p.across, p.input + i % BLOCK, x + i,
                                   SOME * BLOCK);
        }
        for (int i = threadIdx.x; i < here * BLOCK; i += THREADS) {
            const int64_t tile = done + i / BLOCK, image = p.first + tile / p.each;
            gradients_of_line<T, ROW>(g, image, (int)(tile % p.each), p.across, p.output + i % BLOCK, dy + i,
                                      SOME * BLOCK);
        }
        __syncthreads();
        const float *a = x + position * SOME * BLOCK + c, *b = dy + position * SOME * BLOCK + k;
        for (int i = 0; i < here; i++, a += BLOCK, b += BLOCK) {
            const float4 v = *(const float4 *)a;
            const float2 by = *(const float2 *)b;
            const float from[MINE_IN] = {v.x, v.y, v.z, v.w};
            UNROLL
            for (int q = 0; q < MINE_IN; q++) {
                sum[q][0] = fmaf(from[q], by.x, sum[q][0]);
                sum[q][1] = fmaf(from[q], by.y, sum[q][1]);
            }
        }
    }
    float *to = g.room + ((int64_t)p.shard * SIDE * SIDE + ROW * SIDE + position) * g.inputs * g.outputs;
    UNROLL
    for (int q = 0; q < MINE_IN; q++) UNROLL
    for (int j = 0; j < MINE_OUT; j++)
        if (p.input + c + q < g.inputs && p.output + k + j < g.outputs)
            to[(int64_t)(p.input + c + q) * g.outputs + p.output + k + j] = sum[q][j];
}

template <int T> struct gradient_block {
    enum { THREADS = (T + 2) * (BLOCK / MINE_IN) * (BLOCK / MINE_OUT) };
};

/* Grid: shards x blocks of inputs x blocks of outputs x lines of positions. */
template <int T>
__global__ void __launch_bounds__(gradient_block<T>::THREADS, 1)
    k_winograd_gradient(ls_conv2d_cuda_gradient g, ls_cuda_shards shards) {
    enum { SIDE = T + 2 };
    LS_SHARED(float4, x, [SIDE * SOME * BLOCK / 4]);
    LS_SHARED(float4, dy, [SIDE * SOME * BLOCK / 4]);
    const int output_blocks = divide_up(g.outputs, BLOCK), input_blocks = divide_up(g.inputs, BLOCK);
    const int line = blockIdx.x % SIDE, number = blockIdx.x / SIDE;
    part p;
    p.output = number % output_blocks * BLOCK;
    p.input = number / output_blocks % input_blocks * BLOCK;
    p.shard = number / output_blocks / input_blocks;
    p.first = shards.start[p.shard];
    p.across = divide_up(g.out_width, T);
    p.each = p.across * divide_up(g.out_height, T);
    p.tiles = (shards.start[p.shard + 1] - p.first) * p.each;
    switch (line) {
    case 0: add_line<T, 0>(g, p, (float *)x, (float *)dy); break;
    case 1: add_line<T, 1>(g, p, (float *)x, (float *)dy); break;
    case 2: add_line<T, 2>(g, p, (float *)x, (float *)dy); break;
    case 3: add_line<T, 3>(g, p, (float *)x, (float *)dy); break;
    case 4:
        if constexpr (T == 4) add_line<T, 4>(g, p, (float *)x, (float *)dy);
        break;
    default:
        if constexpr (T == 4) add_line<T, 5>(g, p, (float *)x, (float *)dy);
    }
}

/* The weight gradients of the shards from their sums; thread: a pair of channels of a shard. */
template <int T>
__global__ void __launch_bounds__(128, 1)
    k_winograd_taps(const float *sums, int64_t channels, int64_t all, float *to) {
    enum { SIDE = T + 2 };
    for (int64_t i = ls_thread(); i < all; i += ls_stride()) {
        const float *from = sums + i / channels * SIDE * SIDE * channels + i % channels;
        float half[3][SIDE];
        UNROLL
        for (int q = 0; q < SIDE; q++) {
            float m[SIDE], done[3];
            UNROLL
            for (int r = 0; r < SIDE; r++) m[r] = winograd_scaled<T>(from[(r * SIDE + q) * channels], r, q);
            winograd_taps<T>(m, done);
            UNROLL
            for (int u = 0; u < 3; u++) half[u][q] = done[u];
        }
        float *dw = to + i / channels * 9 * channels + i % channels;
        UNROLL
        for (int u = 0; u < 3; u++) {
            float done[3];
            winograd_taps<T>(half[u], done);
            UNROLL
            for (int v = 0; v < 3; v++) dw[(u * 3 + v) * channels] = done[v];
        }
    }
}

/* --- launchers --------------------------------------------------------------------------------- */

static int64_t positions_size(const ls_conv2d_cuda_gradient *g, int shards) {
    return (int64_t)shards * (g->tile + 2) * (g->tile + 2) * g->inputs * g->outputs;
}

int64_t ls_conv2d_cuda_winograd_room(const ls_conv2d_cuda_gradient *g, int shards) {
    return positions_size(g, shards) + (int64_t)shards * 9 * g->inputs * g->outputs;
}

template <int T>
static void add_shards(struct ls_device *device, const ls_conv2d_cuda_gradient &g,
                       const ls_cuda_shards &shards, float *to) {
    const int64_t channels = (int64_t)g.inputs * g.outputs, all = channels * shards.count;
    const dim3 grid(
        (unsigned)(shards.count * divide_up(g.inputs, BLOCK) * divide_up(g.outputs, BLOCK) * (T + 2)));
    LS_LAUNCH(device, k_winograd_gradient<T>, grid, gradient_block<T>::THREADS, 0, g, shards);
    LS_LAUNCH(device, k_winograd_taps<T>, ls_blocks(all, 128), 128, 0, g.room, channels, all, to);
}

const float *ls_conv2d_cuda_winograd_gradient(struct ls_device *device, const ls_conv2d_cuda_gradient *g,
                                              const ls_cuda_shards *shards) {
    float *to = g->room + positions_size(g, shards->count);
    if (g->tile == 4)
        add_shards<4>(device, *g, *shards, to);
    else
        add_shards<2>(device, *g, *shards, to);
    return to;
}
