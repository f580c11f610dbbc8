/* y by tensor cores: rows of A are pixels of a strip, in the order of lines; its words are channels of x' under
 * one tap. B has the weights of that tap. A block goes through images, a warp multiplies 16 pixels with up to
 * 32 outputs: over u, v and the inputs, in steps of 16 (bf16) or 8 (tf32), in increasing order. */
#include "layers/conv2d/conv2d_strips_cuda.h"

enum { GROUP = 4 /* tiles of 8 outputs that share what is loaded of x' */ };

/* The weights of a block's outputs: [taps][words][columns + 8]. */
template <class F>
__device__ __forceinline__ void stage_weights(const ls_conv2d_cuda_tensor_forward &a, int first_column,
                                              unsigned *to) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int words = words_of(s.inputs, s.tf32), columns = a.strips.columns, step = columns + 8;
    for (int i = (int)threadIdx.x; i < s.kernel_h * s.kernel_w * words * columns; i += TENSOR_THREADS) {
        const int k = first_column + i % columns, row = i / columns, word = row % words, tap = row / words;
        float v[F::PER_WORD];
        UNROLL
        for (int j = 0; j < F::PER_WORD; j++) {
            const int c = word * F::PER_WORD + j;
            v[j] = c < s.inputs && k < s.outputs ? a.weight[((size_t)tap * s.inputs + c) * s.outputs + k] : 0;
        }
        to[row * step + i % columns] = word_of<F>(v);
    }
}

/* The area that lines [line, line + lines) of y read. */
__host__ __device__ static inline area area_of(const ls_conv2d_cuda_shape &s, int line, int lines) {
    return {line * s.stride - s.pad, -s.pad, (lines - 1) * s.stride + s.kernel_h,
            (s.out_width - 1) * s.stride + s.kernel_w};
}

template <class F, int N>
__device__ __forceinline__ void stage_image(const ls_conv2d_cuda_tensor_forward &a, int row, int line,
                                            int lines, unsigned *to) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const area from = area_of(s, line, lines);
    /* of lines that two strips read the later one stores x' */
    const bool stores = a.in.stored && blockIdx.y == 0;
    const int below = line + lines < s.out_height ? from.top + lines * s.stride : s.height;
    stage<F, N>(from, s.height, s.width, 0, s.inputs, s.inputs, to, [&](int pixel, int channel) {
        const int element = pixel * s.inputs + channel;
        const ls_values<N> x = ls_prologue_values<cheap_ones, N>(a.in, row, element, channel);
        if (stores && pixel / s.width < below)
            ls_put<N>(a.in.stored, (size_t)row * a.in.length + element, a.in.narrow, x);
        return x;
    });
}

/* y of up to two neighbouring outputs. */
__device__ __forceinline__ void store_outputs(const ls_conv2d_cuda_tensor_forward &a, size_t at, int k,
                                              float first, float second) {
    const int outputs = a.shape.outputs;
    if (k >= outputs) return;
    if (a.bias) first += a.bias[k];
    if (a.bias && k + 1 < outputs) second += a.bias[k + 1];
    if (outputs % 2 == 0) {
        ls_put<2>(a.y, at + k, a.narrow_y, {{first, second}});
    } else {
        ls_put<1>(a.y, at + k, a.narrow_y, {{first}});
        if (k + 1 < outputs) ls_put<1>(a.y, at + k + 1, a.narrow_y, {{second}});
    }
}

template <class F>
__device__ __forceinline__ void multiply_strip(const ls_conv2d_cuda_tensor_forward &a, int row, int line,
                                               int lines, int first_column, const unsigned *x,
                                               const unsigned *weights) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int words = words_of(s.inputs, s.tf32), step = pixel_step(s.inputs, s.tf32);
    const int wide = area_of(s, line, lines).wide, columns = a.strips.columns, weight_step = columns + 8;
    const int lane = (int)threadIdx.x % LS_WARP, group = lane / 4, place = lane % 4;
    const int pixels = lines * s.out_width, tiles = divide_up(pixels, LS_MMA_ROWS);
    const int sides = divide_up(columns, GROUP * LS_MMA_COLUMNS);
    for (int item = (int)threadIdx.x / LS_WARP; item < tiles * sides; item += TENSOR_WARPS) {
        const int tile = item / sides, column = item % sides * (GROUP * LS_MMA_COLUMNS);
        const int here = min((int)GROUP, (columns - column) / LS_MMA_COLUMNS);
        const int mine = min(tile * LS_MMA_ROWS + lane % 16, pixels - 1);
        const unsigned *from =
            x + (mine / s.out_width * wide + mine % s.out_width) * s.stride * step + lane / 16 * 4;
        ls_mma_c sum[GROUP] = {};
        for (int u = 0; u < s.kernel_h; u++)
            for (int v = 0; v < s.kernel_w; v++) {
                const unsigned *pixel = from + (u * wide + v) * step;
                const unsigned *w = weights + (u * s.kernel_w + v) * words * weight_step + column + group;
                for (int word = place; word < words; word += LS_MMA_WORDS) {
                    const ls_mma_a x_words = ls_mma_rows(pixel + word - place);
                    UNROLL
                    for (int j = 0; j < GROUP; j++) {
                        if (j >= here) continue;
                        const unsigned *k = w + word * weight_step + j * LS_MMA_COLUMNS;
                        F::multiply(sum[j], x_words, {{k[0], k[4 * weight_step]}});
                    }
                }
            }
        UNROLL
        for (int j = 0; j < GROUP; j++) UNROLL
        for (int half = 0; half < 2; half++) {
            const int pixel = tile * LS_MMA_ROWS + half * 8 + group;
            if (j >= here || pixel >= pixels) continue;
            const size_t at =
                ((size_t)row * s.out_height * s.out_width + line * s.out_width + pixel) * s.outputs;
            store_outputs(a, at, first_column + column + j * LS_MMA_COLUMNS + 2 * place, sum[j].v[2 * half],
                          sum[j].v[2 * half + 1]);
        }
    }
}

/* Adds those of a strip's lines to the image's; a thread has one of 2 columns sums. */
__device__ __forceinline__ void add_strip(const ls_conv2d_cuda_tensor_forward &a, int row, int line,
                                          int lines, int first_column, double *room, double &image) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int columns = min(a.strips.columns, s.outputs - first_column);
    ls_add_lines(lines, s.out_width, columns, room, [&](int l, int p, int c, double &first, double &second) {
        const size_t pixel = ((size_t)row * s.out_height + line + l) * s.out_width + p;
        const double y = (double)ls_fetch<1>(a.y, pixel * s.outputs + first_column + c, a.narrow_y).v[0];
        first += y;
        second += y * y;
    });
    __syncthreads();
    ls_add_image(lines, columns, room, image);
}

/* Sums of the whole batch, and the cut. */
__device__ __forceinline__ void finish(const ls_conv2d_cuda_tensor_forward &a) {
    const int channels = a.shape.outputs;
    ls_sums_of_images(a.sums.images, channels, a.shards, a.sums.sums);
    if (!a.sums.cut) return;
    for (int c = (int)threadIdx.x; c < channels; c += TENSOR_THREADS) {
        double total[2];
        ls_sums_of_shards(a.sums.sums, channels, a.shards.count, c, total);
        ls_batchnorm_cut_channel(a.norm, c, total[0], total[1]);
    }
}

/* Grid: blocks of images, blocks of outputs. */
template <class F, int N>
__global__ void __launch_bounds__(TENSOR_THREADS, 1)
    k_tensor_forward(ls_conv2d_cuda_tensor_forward a, unsigned *counter) {
    DYN_SHARED(unsigned, room);
    const ls_conv2d_cuda_shape &s = a.shape;
    const int first_column = (int)blockIdx.y * a.strips.columns;
    unsigned *weights = room,
             *x = room + s.kernel_h * s.kernel_w * words_of(s.inputs, s.tf32) * (a.strips.columns + 8);
    stage_weights<F>(a, first_column, weights);
    const int first = a.shards.start[0], last = a.shards.start[a.shards.count];
    for (int row = first + (int)blockIdx.x; row < last; row += (int)gridDim.x) {
        double image = 0;
        for (int line = 0; line < s.out_height; line += a.strips.lines) {
            const int lines = min(a.strips.lines, s.out_height - line);
            __syncthreads();
            stage_image<F, N>(a, row, line, lines, x);
            __syncthreads();
            multiply_strip<F>(a, row, line, lines, first_column, x, weights);
            if (!a.sums.sums) continue;
            __syncthreads();
            add_strip(a, row, line, lines, first_column, (double *)x, image);
        }
        const int columns = min(a.strips.columns, s.outputs - first_column);
        const int which = (int)threadIdx.x / columns, c = first_column + (int)threadIdx.x % columns;
        if (a.sums.sums && which < 2) a.sums.images[((size_t)row * 2 + which) * s.outputs + c] = image;
    }
    if (a.sums.sums && ls_last_block(counter, gridDim.x * gridDim.y)) finish(a);
}

/* --- launchers --------------------------------------------------------------------------------- */

/* Bytes of shared memory; those of sums lie over x'. */
static size_t shared_bytes(const ls_conv2d_cuda_shape &s, int lines, int columns) {
    const area from = area_of(s, 1, lines);
    const size_t weights = (size_t)s.kernel_h * s.kernel_w * words_of(s.inputs, s.tf32) * (columns + 8) * 4;
    const size_t x = (size_t)from.high * from.wide * pixel_step(s.inputs, s.tf32) * 4;
    const size_t sums = (size_t)lines * columns * 2 * sizeof(double);
    return weights + (x > sums ? x : sums);
}

/* As many outputs as possible, up to 64, then as many lines. */
ls_conv2d_cuda_strips ls_conv2d_cuda_forward_strips(const ls_conv2d_cuda_shape *s) {
    ls_conv2d_cuda_strips best = {0, 0, 1, 0};
    int columns = divide_up(s->outputs < 64 ? s->outputs : 64, LS_MMA_COLUMNS) * LS_MMA_COLUMNS;
    while (columns > LS_MMA_COLUMNS && shared_bytes(*s, 1, columns) > MOST_SHARED)
        columns = divide_up(columns / 2, LS_MMA_COLUMNS) * LS_MMA_COLUMNS;
    for (int lines = 1; lines <= s->out_height && shared_bytes(*s, lines, columns) <= MOST_SHARED; lines++)
        best = {lines, columns, 1, shared_bytes(*s, lines, columns)};
    return best;
}

template <class F, int N>
static void launch(struct ls_device *device, const ls_conv2d_cuda_tensor_forward &a) {
    enum { MANY = 48 * 1024 /* bytes of weights that two images share */ };
    const int rows = a.shards.start[a.shards.count] - a.shards.start[0];
    const bool many =
        (size_t)a.shape.kernel_h * a.shape.kernel_w * a.shape.inputs * a.strips.columns * 4 > MANY;
    const int blocks = divide_up(rows, many ? 2 : 1);
    const dim3 grid((unsigned)(blocks > 0 ? blocks : 1),
                    (unsigned)divide_up(a.shape.outputs, a.strips.columns));
    LS_LAUNCH(device, (k_tensor_forward<F, N>), grid, TENSOR_THREADS, a.strips.bytes, a,
              ls_device_counters(device));
}

void ls_conv2d_cuda_tensor_forward_launch(struct ls_device *device, const ls_conv2d_cuda_tensor_forward *a) {
    const bool fours = a->shape.inputs % 4 == 0;
    if (a->shards.start[0] == a->shards.start[a->shards.count] && !a->sums.sums) return;
    if (a->shape.tf32)
        fours ? launch<ls_tf32_factors, 4>(device, *a) : launch<ls_tf32_factors, 1>(device, *a);
    else
        fours ? launch<ls_bf16_factors, 4>(device, *a) : launch<ls_bf16_factors, 1>(device, *a);
}
