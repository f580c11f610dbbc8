/* y and dx' of 3x3 convolutions with stride 1 by Winograd's algorithm, and the weights for it.
 *
 * A block takes TILES tiles, counted line by line through the images, and OUTS columns (outputs of y,
 * inputs of dx'). For CHUNK terms after the other its threads transform the pixels of the tiles into shared
 * memory, then multiply: a thread has one position, 8 tiles and 4 columns, whose sums stay in its registers.
 * In the end the sums pass through shared memory to threads that have all positions of a tile and a column.
 * Every sum is a chain over all terms of one thread, so that no bit depends on how the work is cut. */
#include "layers/conv2d/conv2d_products_cuda.h"
#include "layers/conv2d/winograd_cuda.h"

/* --- weights ----------------------------------------------------------------------------------- */

/* Thread: a term and a column. */
template <int T>
__global__ void __launch_bounds__(128, 1)
    k_winograd_weights(ls_conv2d_cuda_product p, const float *weight, float *to) {
    enum { SIDE = T + 2 };
    const int padded = p.padded;
    const int64_t all = (int64_t)p.terms * padded;
    for (int64_t i = ls_thread(); i < all; i += ls_stride()) {
        const int term = (int)(i / padded), column = (int)(i % padded);
        float half[SIDE][3];
        UNROLL
        for (int v = 0; v < 3; v++) {
            float w[3], done[SIDE];
            UNROLL
            for (int u = 0; u < 3; u++) {
                const int64_t tap = u * 3 + v;
                const int64_t at = p.back ? ((8 - tap) * p.columns + column) * p.terms + term
                                          : (tap * p.terms + term) * p.columns + column;
                w[u] = column < p.columns ? ls_factor(weight[at], p.rounded) : 0;
            }
            winograd_weights<T>(w, done);
            UNROLL
            for (int r = 0; r < SIDE; r++) half[r][v] = done[r];
        }
        UNROLL
        for (int r = 0; r < SIDE; r++) {
            float done[SIDE];
            winograd_weights<T>(half[r], done);
            UNROLL
            for (int q = 0; q < SIDE; q++) to[(r * SIDE + q) * all + i] = winograd_scaled<T>(done[q], r, q);
        }
    }
}

/* --- products ---------------------------------------------------------------------------------- */

template <int T, int OUTS> struct winograd_block {
    enum {
        SIDE = T + 2,
        POSITIONS = SIDE * SIDE,
        CHUNK = 16,
        MINE = 8, /* tiles of a thread */
        TILES = (T == 4 ? 256 : 512) / OUTS,
        GROUPS = TILES / MINE,
        FOURS = OUTS / 4,
        THREADS = POSITIONS * GROUPS * FOURS,
        TERM = TILES + 4, /* floats from one term of a position to the next */
        IN_PLANE = CHUNK * TERM,
        OUT_PLANE = TILES * OUTS,
        FLOATS = POSITIONS * (IN_PLANE > OUT_PLANE ? IN_PLANE : OUT_PLANE)
    };
};

/* Where tile number `tile` of the images of a product begins. */
struct winograd_tile_place {
    int row, line, column;
};
template <int T>
__device__ __forceinline__ winograd_tile_place place_of(const ls_conv2d_cuda_product &p, int64_t tile) {
    const int across = divide_up(p.to_width, T), each = across * divide_up(p.to_height, T);
    const int at = (int)(tile % each);
    return {p.first + (int)(tile / each), at / across * T, at % across * T};
}

/* The pixels of a tile for one term, position q at to[q * plane]. */
template <int T, class Load>
__device__ __forceinline__ void transform_pixels(const ls_conv2d_cuda_product &p, const Load &load,
                                                 winograd_tile_place at, int term, float *to, int plane) {
    enum { SIDE = T + 2 };
    const int offset = p.back ? p.pad - 2 : -p.pad, top = at.line + offset, left = at.column + offset;
    float half[SIDE][SIDE];
    if constexpr (Load::light) {
        UNROLL
        for (int v = 0; v < SIDE; v++) {
            float d[SIDE], done[SIDE];
            UNROLL
            for (int u = 0; u < SIDE; u++) {
                const int h = top + u, w = left + v;
                const bool inside = h >= 0 && h < p.from_height && w >= 0 && w < p.from_width;
                d[u] = inside ? load(at.row, (h * p.from_width + w) * p.terms + term, term) : 0;
            }
            winograd_pixels<T>(d, done);
            UNROLL
            for (int r = 0; r < SIDE; r++) half[r][v] = done[r];
        }
    } else { /* one copy of the load; the places are this thread's own */
#pragma unroll 1
        for (int q = 0; q < SIDE * SIDE; q++) {
            const int h = top + q / SIDE, w = left + q % SIDE;
            const bool inside = h >= 0 && h < p.from_height && w >= 0 && w < p.from_width;
            to[q * plane] = inside ? load(at.row, (h * p.from_width + w) * p.terms + term, term) : 0;
        }
        UNROLL
        for (int v = 0; v < SIDE; v++) {
            float d[SIDE], done[SIDE];
            UNROLL
            for (int u = 0; u < SIDE; u++) d[u] = to[(u * SIDE + v) * plane];
            winograd_pixels<T>(d, done);
            UNROLL
            for (int r = 0; r < SIDE; r++) half[r][v] = done[r];
        }
    }
    UNROLL
    for (int r = 0; r < SIDE; r++) {
        float done[SIDE];
        winograd_pixels<T>(half[r], done);
        UNROLL
        for (int q = 0; q < SIDE; q++) to[(r * SIDE + q) * plane] = done[q];
    }
}

/* The T x T results of a tile and a column from its sums at m[position * plane]. */
template <int T, class Store>
__device__ __forceinline__ void transform_results(const ls_conv2d_cuda_product &p, const Store &store,
                                                  winograd_tile_place at, int column, float *m, int plane) {
    enum { SIDE = T + 2 };
    float half[SIDE][T], y[T][T];
    UNROLL
    for (int r = 0; r < SIDE; r++) {
        float line[SIDE];
        UNROLL
        for (int q = 0; q < SIDE; q++) line[q] = m[(r * SIDE + q) * plane];
        winograd_results<T>(line, half[r]);
    }
    UNROLL
    for (int j = 0; j < T; j++) {
        float down[SIDE], done[T];
        UNROLL
        for (int r = 0; r < SIDE; r++) down[r] = half[r][j];
        winograd_results<T>(down, done);
        UNROLL
        for (int i = 0; i < T; i++) y[i][j] = done[i];
    }
    if constexpr (Store::light) {
        UNROLL
        for (int i = 0; i < T; i++) UNROLL
        for (int j = 0; j < T; j++)
            if (at.line + i < p.to_height && at.column + j < p.to_width)
                store(at.row, ((at.line + i) * p.to_width + at.column + j) * p.columns + column, column,
                      y[i][j]);
    } else { /* one copy of the store; the places are this thread's own */
        UNROLL
        for (int i = 0; i < T; i++) UNROLL
        for (int j = 0; j < T; j++) m[(i * T + j) * plane] = y[i][j];
#pragma unroll 1
        for (int q = 0; q < T * T; q++) {
            const int h = at.line + q / T, w = at.column + q % T;
            if (h < p.to_height && w < p.to_width)
                store(at.row, (h * p.to_width + w) * p.columns + column, column, m[q * plane]);
        }
    }
}

/* Grid: blocks of tiles, blocks of columns. */
template <int T, int OUTS, class Load, class Store>
__global__ void __launch_bounds__(winograd_block<T, OUTS>::THREADS, 1)
    k_winograd(ls_conv2d_cuda_product p, Load load, Store store, int64_t tiles) {
    typedef winograd_block<T, OUTS> block;
    DYN_SHARED(float, room);
    const int padded = p.padded, first_column = blockIdx.y * OUTS;
    const int64_t first = (int64_t)blockIdx.x * block::TILES;
    const int thread = threadIdx.x, four = thread % block::FOURS * 4;
    const int group = thread / block::FOURS % block::GROUPS * block::MINE;
    const int position = thread / block::FOURS / block::GROUPS;
    const bool exists = first_column + four < padded;
    float sum[block::MINE][4] = {};
    for (int begin = 0; begin < p.terms; begin += block::CHUNK) {
        const int terms = min((int)block::CHUNK, p.terms - begin);
        __syncthreads();
        for (int i = thread; i < block::TILES * block::CHUNK; i += block::THREADS) {
            const int term = i % block::CHUNK, tile = i / block::CHUNK;
            if (term < terms && first + tile < tiles)
                transform_pixels<T>(p, load, place_of<T>(p, first + tile), begin + term,
                                    room + term * block::TERM + tile, block::IN_PLANE);
        }
        __syncthreads();
        if (!exists) continue;
        const float *x = room + position * block::IN_PLANE + group;
        const float *w = p.weights + ((int64_t)position * p.terms + begin) * padded + first_column + four;
#pragma unroll 4
        for (int term = 0; term < terms; term++, x += block::TERM, w += padded) {
            const float4 a = *(const float4 *)x, b = *(const float4 *)(x + 4), k = *(const float4 *)w;
            const float from[block::MINE] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
            UNROLL
            for (int t = 0; t < block::MINE; t++) {
                sum[t][0] = fmaf(from[t], k.x, sum[t][0]);
                sum[t][1] = fmaf(from[t], k.y, sum[t][1]);
                sum[t][2] = fmaf(from[t], k.z, sum[t][2]);
                sum[t][3] = fmaf(from[t], k.w, sum[t][3]);
            }
        }
    }
    __syncthreads();
    float *to = room + position * block::OUT_PLANE + group * OUTS + four;
    UNROLL
    for (int t = 0; t < block::MINE; t++)
        *(float4 *)(to + t * OUTS) = make_float4(sum[t][0], sum[t][1], sum[t][2], sum[t][3]);
    __syncthreads();
    for (int i = thread; i < block::TILES * OUTS; i += block::THREADS) {
        const int64_t tile = first + i / OUTS;
        const int column = first_column + i % OUTS;
        if (tile < tiles && column < p.columns)
            transform_results<T>(p, store, place_of<T>(p, tile), column, room + i, block::OUT_PLANE);
    }
}

/* --- launchers --------------------------------------------------------------------------------- */

template <int T, int OUTS, class Load, class Store>
static void launch(struct ls_device *device, const ls_conv2d_cuda_product &p, const Load &load,
                   const Store &store) {
    typedef winograd_block<T, OUTS> block;
    const int64_t tiles = (int64_t)p.rows * divide_up(p.to_height, T) * divide_up(p.to_width, T);
    const dim3 grid((unsigned)((tiles + block::TILES - 1) / block::TILES),
                    (unsigned)divide_up(p.columns, OUTS));
    LS_LAUNCH(device, (k_winograd<T, OUTS, Load, Store>), grid, block::THREADS, block::FLOATS * sizeof(float),
              p, load, store, tiles);
}

template <class Load, class Store>
static void multiply(struct ls_device *device, const ls_conv2d_cuda_product &p, const Load &load,
                     const Store &store) {
    const bool few = p.columns <= 16;
    if (p.tile == 4)
        few ? launch<4, 16>(device, p, load, store) : launch<4, 32>(device, p, load, store);
    else
        few ? launch<2, 16>(device, p, load, store) : launch<2, 32>(device, p, load, store);
}

void ls_conv2d_cuda_winograd(struct ls_device *device, const ls_conv2d_cuda_product *p,
                             const ls_conv2d_cuda_forward *forward, const ls_conv2d_cuda_backward *backward) {
    with_load_and_store(p, forward, backward, [=](const auto &load, const auto &store) {
        multiply(device, *p, load, store);
    });
}

void ls_conv2d_cuda_winograd_weights(struct ls_device *device, const ls_conv2d_cuda_product *p,
                                     const float *weight, float *to) {
    const dim3 grid = ls_blocks((int64_t)p->terms * p->padded, 128);
    if (p->tile == 4)
        LS_LAUNCH(device, k_winograd_weights<4>, grid, 128, 0, *p, weight, to);
    else
        LS_LAUNCH(device, k_winograd_weights<2>, grid, 128, 0, *p, weight, to);
}
