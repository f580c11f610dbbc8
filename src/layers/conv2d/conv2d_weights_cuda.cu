/* Weight gradients of the convolution from x' and dy as they are stored: by direct sums of every image, and the
 * tree over images and shards, which Winograd's algorithm (conv2d_winograd_weights_cuda.cu) takes as well. */
#include "layers/conv2d/conv2d_gradient_cuda.h"
#include "layers/conv2d/conv2d_products_cuda.h"

/* --- direct sums of an image ------------------------------------------------------------------- */

/* Channels of x' and dy of a block, taps of a block, floats of shared memory. */
enum { SIDE = 16, MOST_TAPS = 32, ROOM = 11 * 1024 };

/* How a block goes through an image: so many lines, or parts of one, at a time; and which taps it has: those
 * of a kernel, or so many of a line of it. */
struct strips {
    int lines, pixels, taps_h, taps_w, tap_blocks;
};

__host__ __device__ static inline int read_lines(const strips &s, int lines, int stride) {
    return (lines - 1) * stride + s.taps_h;
}
__host__ __device__ static inline int read_pixels(const strips &s, int pixels, int stride) {
    return (pixels - 1) * stride + s.taps_w;
}

/* A block has the sums of an image, taps, and channels [input, input + inputs) x [output, output + SIDE); a
 * thread those of a tap and MINE x 4 channels, each a chain over the pixels of dy. inputs: SIDE, or 1 with
 * MINE 1. Grid: images x blocks of taps x blocks of inputs x blocks of outputs. */
template <int MINE>
__global__ void __launch_bounds__(MOST_TAPS *SIDE, 1)
    k_gradient(ls_conv2d_cuda_gradient g, strips s, int64_t first) {
    enum { INPUTS = MINE == 1 ? 1 : SIDE };
    DYN_SHARED(float, x);
    const int output_blocks = divide_up(g.outputs, SIDE), input_blocks = divide_up(g.inputs, INPUTS);
    int64_t number = blockIdx.x;
    const int output = (int)(number % output_blocks) * SIDE;
    number /= output_blocks;
    const int input = (int)(number % input_blocks) * INPUTS;
    number /= input_blocks;
    const int across = divide_up(g.kernel_w, s.taps_w), tap_block = (int)(number % s.tap_blocks);
    const int64_t image = first + number / s.tap_blocks;
    const int u0 = tap_block / across * s.taps_h, v0 = tap_block % across * s.taps_w;
    const int columns = read_pixels(s, s.pixels, g.stride);
    float *dy = x + (read_lines(s, s.lines, g.stride) * columns * INPUTS + 3) / 4 * 4;
    const int k = threadIdx.x % (SIDE / 4) * 4, c = threadIdx.x / (SIDE / 4) % (INPUTS / MINE) * MINE;
    const int tap = threadIdx.x / (SIDE / 4) / (INPUTS / MINE), u = tap / s.taps_w, v = tap % s.taps_w;
    const bool active = u < s.taps_h && u0 + u < g.kernel_h && v0 + v < g.kernel_w;
    const float *x_image = g.x + image * g.height * g.width * g.inputs;
    const float *dy_image = g.dy + image * g.out_height * g.out_width * g.outputs;
    float sum[MINE][4] = {};
    for (int line = 0; line < g.out_height; line += s.lines)
        for (int begin = 0; begin < g.out_width; begin += s.pixels) {
            const int lines = min(s.lines, g.out_height - line), pixels = min(s.pixels, g.out_width - begin);
            const int top = line * g.stride + u0 - g.pad, left = begin * g.stride + v0 - g.pad;
            const int high = read_lines(s, lines, g.stride), wide = read_pixels(s, pixels, g.stride);
            __syncthreads();
            for (int i = threadIdx.x; i < high * wide * INPUTS; i += blockDim.x) {
                const int channel = i % INPUTS, at = i / INPUTS, h = top + at / wide, w = left + at % wide;
                const bool inside =
                    h >= 0 && h < g.height && w >= 0 && w < g.width && input + channel < g.inputs;
                x[(at / wide * columns + at % wide) * INPUTS + channel] =
                    inside ? ls_factor(x_image[((int64_t)h * g.width + w) * g.inputs + input + channel],
                                       g.rounded)
                           : 0;
            }
            for (int i = threadIdx.x; i < lines * pixels * SIDE; i += blockDim.x) {
                const int channel = i % SIDE, at = i / SIDE, h = line + at / pixels, w = begin + at % pixels;
                const int64_t from = ((int64_t)h * g.out_width + w) * g.outputs + output + channel;
                dy[i] = output + channel < g.outputs ? ls_factor(dy_image[from], g.rounded) : 0;
            }
            __syncthreads();
            if (!active) continue;
            for (int i = 0; i < lines; i++) {
                const float *a = x + ((i * g.stride + u) * columns + v) * INPUTS + c;
                const float *b = dy + i * pixels * SIDE + k;
                for (int j = 0; j < pixels; j++, a += g.stride * INPUTS, b += SIDE) {
                    const float4 by = *(const float4 *)b;
                    alignas(16) float from[MINE];
                    if constexpr (MINE == 4)
                        *(float4 *)from = *(const float4 *)a;
                    else
                        from[0] = *a;
                    UNROLL
                    for (int q = 0; q < MINE; q++) {
                        sum[q][0] = fmaf(from[q], by.x, sum[q][0]);
                        sum[q][1] = fmaf(from[q], by.y, sum[q][1]);
                        sum[q][2] = fmaf(from[q], by.z, sum[q][2]);
                        sum[q][3] = fmaf(from[q], by.w, sum[q][3]);
                    }
                }
            }
        }
    if (!active) return;
    const int64_t taps = (int64_t)g.kernel_h * g.kernel_w, at = (int64_t)(u0 + u) * g.kernel_w + v0 + v;
    UNROLL
    for (int q = 0; q < MINE; q++) UNROLL
    for (int j = 0; j < 4; j++)
        if (input + c + q < g.inputs && output + k + j < g.outputs)
            g.room[((image * taps + at) * g.inputs + input + c + q) * g.outputs + output + k + j] = sum[q][j];
}

/* Sums of dy over the pixels of every image [images][outputs]. */
__global__ void __launch_bounds__(256, 1)
    k_bias_gradient(const float *dy, int64_t images, int pixels, int outputs, float *to) {
    for (int64_t i = ls_thread(); i < images * outputs; i += ls_stride()) {
        const float *from = dy + i / outputs * pixels * outputs + i % outputs;
        float sum = 0;
        for (int j = 0; j < pixels; j++) sum = sum + from[(int64_t)j * outputs];
        to[i] = sum;
    }
}

/* --- images, shards, nodes --------------------------------------------------------------------- */

/* Sums of `count` elements of the nodes from those of the images, which are added in order from 0, or of the
 * shards, by the tree. */
enum { TREE_THREADS = 128 };
__global__ void __launch_bounds__(TREE_THREADS, 1)
    k_nodes(const float *from, bool of_images, int64_t count, ls_cuda_shards shards,
            ls_conv2d_cuda_nodes nodes, float *to, int64_t node_stride) {
    LS_SHARED(float, pending, [LS_MAX_TREE_DEPTH][TREE_THREADS]); /* a column is a thread's own */
    for (int64_t i = ls_thread(); i < count; i += ls_stride())
        for (int n = 0; n < nodes.count; n++) {
            int depth = 0;
            for (int leaf = 0; leaf < nodes.shards[n]; leaf++) {
                const int shard = nodes.first[n] + leaf;
                float sum = of_images ? 0 : from[shard * count + i];
                if (of_images)
                    for (int64_t image = shards.start[shard]; image < shards.start[shard + 1]; image++)
                        sum = sum + from[image * count + i];
                for (int ones = leaf; ones & 1; ones >>= 1) sum = pending[--depth][threadIdx.x] + sum;
                pending[depth++][threadIdx.x] = sum;
            }
            to[n * node_stride + i] = pending[0][threadIdx.x];
        }
}

/* --- launchers --------------------------------------------------------------------------------- */

static int64_t room_floats(const strips &s, int lines, int pixels, int stride, int inputs) {
    return ((int64_t)read_lines(s, lines, stride) * read_pixels(s, pixels, stride) * inputs + 3) / 4 * 4 +
           (int64_t)lines * pixels * SIDE;
}

/* All taps in a block, or, of a large kernel, some of a line of it; as many lines as fit, or a part of one. */
static strips choose(const ls_conv2d_cuda_gradient &g) {
    const int inputs = g.inputs == 1 ? 1 : SIDE;
    const bool all = g.kernel_h * g.kernel_w <= MOST_TAPS;
    strips s = {1, g.out_width, all ? g.kernel_h : 1, all || g.kernel_w <= MOST_TAPS ? g.kernel_w : MOST_TAPS,
                0};
    s.tap_blocks = divide_up(g.kernel_h, s.taps_h) * divide_up(g.kernel_w, s.taps_w);
    while (s.pixels > 1 && room_floats(s, 1, s.pixels, g.stride, inputs) > ROOM)
        s.pixels = divide_up(s.pixels, 2);
    if (s.pixels < g.out_width) return s;
    while (s.lines < g.out_height && room_floats(s, s.lines + 1, s.pixels, g.stride, inputs) <= ROOM)
        s.lines++;
    return s;
}

static void add_images(struct ls_device *device, const ls_conv2d_cuda_gradient &g, int64_t images) {
    const strips s = choose(g);
    const int inputs = g.inputs == 1 ? 1 : SIDE;
    const int64_t blocks = (int64_t)s.tap_blocks * divide_up(g.inputs, inputs) * divide_up(g.outputs, SIDE);
    const size_t shared = (size_t)room_floats(s, s.lines, s.pixels, g.stride, inputs) * sizeof(float);
    const int each = inputs == 1 ? SIDE / 4 : SIDE / 4 * (SIDE / 4), taps = s.taps_h * s.taps_w;
    const int threads = divide_up(taps * each, 32) * 32;
    const int64_t most = blocks < INT32_MAX ? INT32_MAX / blocks : 1; /* images of a grid */
    for (int64_t first = 0; first < images; first += most) {
        const dim3 grid((unsigned)((images - first < most ? images - first : most) * blocks));
        if (inputs == 1)
            LS_LAUNCH(device, k_gradient<1>, grid, threads, shared, g, s, first);
        else
            LS_LAUNCH(device, k_gradient<4>, grid, threads, shared, g, s, first);
    }
}

static void add_nodes(struct ls_device *device, const float *from, bool of_images, int64_t count,
                      const ls_cuda_shards &shards, const ls_conv2d_cuda_nodes &nodes, float *to,
                      int64_t node_stride) {
    LS_LAUNCH(device, k_nodes, ls_blocks(count, TREE_THREADS), TREE_THREADS, 0, from, of_images, count,
              shards, nodes, to, node_stride);
}

static int64_t bias_room(int outputs, int64_t rows) {
    return (outputs * rows + 3) / 4 * 4;
}

int64_t ls_conv2d_cuda_gradient_room(const ls_conv2d_cuda_gradient *g, int shards, int64_t rows) {
    const int64_t channels = (int64_t)g->inputs * g->outputs;
    const int64_t weights =
        g->tile ? ls_conv2d_cuda_winograd_room(g, shards) : rows * g->kernel_h * g->kernel_w * channels;
    return bias_room(g->outputs, rows) + weights;
}

void ls_conv2d_cuda_add_gradient(struct ls_device *device, const ls_conv2d_cuda_gradient *g,
                                 const ls_cuda_shards *shards, const ls_conv2d_cuda_nodes *nodes) {
    const int64_t images = shards->start[shards->count];
    const int64_t count = (int64_t)g->kernel_h * g->kernel_w * g->inputs * g->outputs;
    float *bias = g->room;
    ls_conv2d_cuda_gradient weights = *g;
    weights.room += bias_room(g->outputs, images);
    if (g->tile) {
        const float *of_shards = ls_conv2d_cuda_winograd_gradient(device, &weights, shards);
        add_nodes(device, of_shards, false, count, *shards, *nodes, g->dweight, g->node_stride);
    } else {
        add_images(device, weights, images);
        add_nodes(device, weights.room, true, count, *shards, *nodes, g->dweight, g->node_stride);
    }
    if (!g->dbias) return;
    if (images > 0)
        LS_LAUNCH(device, k_bias_gradient, ls_blocks(images * g->outputs, 256), 256, 0, g->dy, images,
                  g->out_height * g->out_width, g->outputs, bias);
    add_nodes(device, bias, true, g->outputs, *shards, *nodes, g->dbias, g->node_stride);
}
