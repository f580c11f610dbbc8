/* Both gradients of a convolution by tensor cores, from one visit.
 *
 * A block has the images of a part of a shard, 16 inputs, and, of the weight gradient, up to TAPS taps and 64
 * outputs. Strip by strip it loads dy, and x' of its inputs. dx': rows of A are pixels of x, in the order of
 * lines, a phase of a stride after the other; its words are outputs under one tap. The weight gradient: rows of
 * A are inputs, its words neighbouring pixels of y, and B has dy; sums stay in registers to the end of the
 * part. Warps share out pairs of tiles of 8 outputs, and, where that leaves some, the pixels; their sums are
 * added in order. What is multiplied is in increasing order of taps and outputs, or of pixels. A bias's
 * gradient is of dy as it is multiplied. */
#include "layers/conv2d/conv2d_strips_cuda.h"

enum { INPUTS = 16, OUTPUTS = 64, TAPS = 9, PAIR = 2 * LS_MMA_COLUMNS, WEIGHT_STEP = INPUTS + 8 };
enum { LANE_SUMS = TAPS * 2 * 4 };

/* Lines [line, line + lines) of y, and those of x whose dx' is made with them. */
struct strip {
    int line, lines, top, bottom;
};

__host__ __device__ static inline strip strip_of(const ls_conv2d_cuda_shape &s, int line, int most) {
    const int lines = s.out_height - line < most ? s.out_height - line : most;
    const int top = line * s.stride < s.height ? line * s.stride : s.height;
    const int next = (line + lines) * s.stride;
    return {line, lines, top, line + lines == s.out_height || next > s.height ? s.height : next};
}

/* What it reads of dy, with what dx' reads beyond its lines; of x' for the weight gradient. */
__host__ __device__ static inline area dy_area(const ls_conv2d_cuda_shape &s, const strip &p) {
    int top = divide_down(p.top + s.pad - s.kernel_h + 1, s.stride),
        bottom = divide_down(p.bottom - 1 + s.pad, s.stride);
    int left = divide_down(s.pad - s.kernel_w + 1, s.stride),
        right = divide_down(s.width - 1 + s.pad, s.stride);
    top = top < p.line ? top : p.line;
    left = left < 0 ? left : 0;
    bottom = bottom > p.line + p.lines - 1 ? bottom : p.line + p.lines - 1;
    right = right > s.out_width - 1 ? right : s.out_width - 1;
    return {top, left, bottom - top + 1, right - left + 1};
}
__host__ __device__ static inline area x_area(const ls_conv2d_cuda_shape &s, const strip &p) {
    return {p.line * s.stride - s.pad, -s.pad, (p.lines - 1) * s.stride + s.kernel_h,
            (s.out_width - 1) * s.stride + s.kernel_w};
}

/* The weights of a block's inputs: [taps][words of outputs][WEIGHT_STEP]. */
template <class F>
__device__ __forceinline__ void stage_weights(const ls_conv2d_cuda_tensor_backward &a, int first,
                                              unsigned *to) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int words = words_of(s.outputs, s.tf32);
    for (int i = (int)threadIdx.x; i < s.kernel_h * s.kernel_w * words * INPUTS; i += TENSOR_THREADS) {
        const int word = i % words, c = first + i / words % INPUTS, tap = i / words / INPUTS;
        float v[F::PER_WORD];
        UNROLL
        for (int j = 0; j < F::PER_WORD; j++) {
            const int k = word * F::PER_WORD + j;
            v[j] = c < s.inputs && k < s.outputs ? a.weight[((size_t)tap * s.inputs + c) * s.outputs + k] : 0;
        }
        to[(tap * words + word) * WEIGHT_STEP + c - first] = word_of<F>(v);
    }
}

/* --- dx' --------------------------------------------------------------------------------------- */

/* Pixels of x in one direction whose taps are `tap`, tap + stride, ..: first, first + stride, .. */
struct phase {
    int tap, first, count;
};
__device__ __forceinline__ phase phase_of(int tap, int begin, int end, int stride, int pad) {
    const int first = begin + ((tap - begin - pad) % stride + stride) % stride;
    return {tap, first, first < end ? divide_up(end - first, stride) : 0};
}

/* dx' of up to two neighbouring inputs, back through the prologue. */
__device__ __forceinline__ void store_gradients(const ls_conv2d_cuda_tensor_backward &a, int row, int pixel,
                                                int c, float first, float second) {
    const int inputs = a.shape.inputs, element = pixel * inputs + c;
    if (c >= inputs) return;
    if (inputs % 2 == 0) {
        ls_grad_epilogue_values<cheap_ones, 2>(a.in, a.dx, row, element, c, {{first, second}});
    } else {
        ls_grad_epilogue_values<cheap_ones, 1>(a.in, a.dx, row, element, c, {{first}});
        if (c + 1 < inputs)
            ls_grad_epilogue_values<cheap_ones, 1>(a.in, a.dx, row, element + 1, c + 1, {{second}});
    }
}

template <class F>
__device__ __forceinline__ void multiply_phase(const ls_conv2d_cuda_tensor_backward &a, int row,
                                               const area &of_dy, const phase &lines, const phase &columns,
                                               int first_input, const unsigned *dy, const unsigned *weights) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int words = words_of(s.outputs, s.tf32), step = pixel_step(s.outputs, s.tf32);
    const int lane = (int)threadIdx.x % LS_WARP, group = lane / 4, place = lane % 4;
    const int pixels = lines.count * columns.count;
    for (int tile = (int)threadIdx.x / LS_WARP; tile * LS_MMA_ROWS < pixels; tile += TENSOR_WARPS) {
        const int mine = min(tile * LS_MMA_ROWS + lane % 16, pixels - 1);
        const int h = lines.first + mine / columns.count * s.stride,
                  w = columns.first + mine % columns.count * s.stride;
        const int i = (h + s.pad - lines.tap) / s.stride - of_dy.top,
                  j = (w + s.pad - columns.tap) / s.stride - of_dy.left;
        const unsigned *from = dy + (i * of_dy.wide + j) * step + lane / 16 * 4;
        ls_mma_c sum[2] = {};
        for (int u = lines.tap, up = 0; u < s.kernel_h; u += s.stride, up++)
            for (int v = columns.tap, back = 0; v < s.kernel_w; v += s.stride, back++) {
                const unsigned *pixel = from - (up * of_dy.wide + back) * step;
                const unsigned *k = weights + ((u * s.kernel_w + v) * words + place) * WEIGHT_STEP + group;
                for (int word = 0; word < words; word += LS_MMA_WORDS, k += LS_MMA_WORDS * WEIGHT_STEP) {
                    const ls_mma_a dy_words = ls_mma_rows(pixel + word);
                    F::multiply(sum[0], dy_words, {{k[0], k[4 * WEIGHT_STEP]}});
                    F::multiply(sum[1], dy_words, {{k[8], k[8 + 4 * WEIGHT_STEP]}});
                }
            }
        UNROLL
        for (int half = 0; half < 2; half++) {
            const int q = tile * LS_MMA_ROWS + half * 8 + group;
            if (q >= pixels) continue;
            const int pixel = (lines.first + q / columns.count * s.stride) * s.width + columns.first +
                              q % columns.count * s.stride;
            UNROLL
            for (int side = 0; side < 2; side++)
                store_gradients(a, row, pixel, first_input + side * 8 + 2 * place, sum[side].v[2 * half],
                                sum[side].v[2 * half + 1]);
        }
    }
}

template <class F>
__device__ __forceinline__ void multiply_back(const ls_conv2d_cuda_tensor_backward &a, int row,
                                              const strip &p, const area &of_dy, int first_input,
                                              const unsigned *dy, const unsigned *weights) {
    const ls_conv2d_cuda_shape &s = a.shape;
    for (int u = 0; u < s.stride; u++)
        for (int v = 0; v < s.stride; v++)
            multiply_phase<F>(a, row, of_dy, phase_of(u, p.top, p.bottom, s.stride, s.pad),
                              phase_of(v, 0, s.width, s.stride, s.pad), first_input, dy, weights);
}

/* --- the weight gradient ----------------------------------------------------------------------- */

/* What a warp has of it. */
struct share {
    int pair, split, splits; /* outputs PAIR * pair of the block's, every splits-th step from `split` on */
    int first_tap, first_output;
};

/* A of taps of x', and B, of pixels q .. of y: bf16 by loads that transpose; tf32 as they lie. */
template <class F>
__device__ __forceinline__ void multiply_weights(const ls_conv2d_cuda_tensor_backward &a, const strip &p,
                                                 const area &of_dy, const share &mine, const unsigned *dy,
                                                 const unsigned *x, const unsigned *zeros,
                                                 ls_mma_c (&sum)[TAPS][2]) {
    enum { K = LS_MMA_WORDS * F::PER_WORD };
    const ls_conv2d_cuda_shape &s = a.shape;
    const int step = pixel_step(s.outputs, s.tf32), x_step = pixel_step(INPUTS, s.tf32),
              wide = x_area(s, p).wide;
    const int lane = (int)threadIdx.x % LS_WARP, taps = s.kernel_h * s.kernel_w,
              pixels = p.lines * s.out_width;
    const int output = mine.first_output + mine.pair * PAIR;
    int tap[TAPS];
    if (mine.split >= mine.splits) return; /* the whole warp */
    UNROLL
    for (int t = 0; t < TAPS; t++)
        tap[t] = ((mine.first_tap + t) / s.kernel_w * wide + (mine.first_tap + t) % s.kernel_w) * x_step;
    const auto of_y = [&](int q) {
        return q < pixels ? dy + ((p.line + q / s.out_width - of_dy.top) * of_dy.wide + q % s.out_width -
                                  of_dy.left) *
                                     step
                          : zeros;
    };
    const auto of_x = [&](int q) { /* beside zeros any pixel will do */
                                   q = min(q, pixels - 1);
                                   return x + (q / s.out_width * wide + q % s.out_width) * s.stride * x_step;
    };
    for (int k = mine.split * K; k < pixels; k += mine.splits * K) {
        ls_mma_b b[2];
        if constexpr (F::PER_WORD == 2) {
            const int matrix = lane / 8, row = lane % 8;
            unsigned w[4];
            ls_mma_transposed(of_y(k + matrix % 2 * 8 + row) + output / 2 + matrix / 2 * 4, w);
            b[0] = {{w[0], w[1]}};
            b[1] = {{w[2], w[3]}};
            const unsigned *from = of_x(k + matrix / 2 * 8 + row) + matrix % 2 * 4;
            UNROLL
            for (int t = 0; t < TAPS; t++) {
                if (mine.first_tap + t >= taps) continue;
                ls_mma_a xs;
                ls_mma_transposed(from + tap[t], xs.w);
                F::multiply(sum[t][0], xs, b[0]);
                F::multiply(sum[t][1], xs, b[1]);
            }
        } else {
            const int group = lane / 4, place = lane % 4;
            const unsigned *near = of_y(k + place) + output + group,
                           *far = of_y(k + place + 4) + output + group;
            const bool second = output + LS_MMA_COLUMNS < words_of(s.outputs, s.tf32);
            b[0] = {{near[0], far[0]}};
            b[1] = {{second ? near[8] : 0, second ? far[8] : 0}};
            const unsigned *x_near = of_x(k + place) + group, *x_far = of_x(k + place + 4) + group;
            UNROLL
            for (int t = 0; t < TAPS; t++) {
                if (mine.first_tap + t >= taps) continue;
                const ls_mma_a xs = {{x_near[tap[t]], x_near[tap[t] + 8], x_far[tap[t]], x_far[tap[t] + 8]}};
                F::multiply(sum[t][0], xs, b[0]);
                F::multiply(sum[t][1], xs, b[1]);
            }
        }
    }
}

/* The first split's warps add those of the others, in order, and store the part's sums. */
__device__ __forceinline__ void store_weights(const ls_conv2d_cuda_tensor_backward &a, const share &mine,
                                              int first_input, float *to, float *room,
                                              ls_mma_c (&sum)[TAPS][2]) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int lane = (int)threadIdx.x % LS_WARP, group = lane / 4, place = lane % 4,
              taps = s.kernel_h * s.kernel_w;
    float *of_pair = room + mine.pair * LANE_SUMS * LS_WARP + lane;
    for (int split = 1; split < mine.splits; split++) {
        __syncthreads();
        if (mine.split == split) UNROLL
        for (int i = 0; i < LANE_SUMS; i++) of_pair[i * LS_WARP] = sum[i / 8][i / 4 % 2].v[i % 4];
        __syncthreads();
        if (mine.split == 0) UNROLL
        for (int i = 0; i < LANE_SUMS; i++) sum[i / 8][i / 4 % 2].v[i % 4] += of_pair[i * LS_WARP];
    }
    if (mine.split != 0) return;
    UNROLL
    for (int i = 0; i < LANE_SUMS; i++) {
        const int tap = mine.first_tap + i / 8, c = first_input + group + i / 2 % 2 * 8;
        const int k = mine.first_output + mine.pair * PAIR + i / 4 % 2 * LS_MMA_COLUMNS + 2 * place + i % 2;
        if (tap < taps && c < s.inputs && k < s.outputs)
            to[((size_t)tap * s.inputs + c) * s.outputs + k] = sum[i / 8][i / 4 % 2].v[i % 4];
    }
}

/* dy's factor of output k of a pixel. */
template <class F> __device__ __forceinline__ float factor_of(const unsigned *pixel, int k) {
    const unsigned word = pixel[k / F::PER_WORD];
    return __uint_as_float(F::PER_WORD == 1 ? word : k % 2 ? word & 0xffff0000u : word << 16);
}

/* Adds a strip's lines to the bias's gradient, an output a thread. */
template <class F>
__device__ __forceinline__ void add_bias(const ls_conv2d_cuda_tensor_backward &a, const strip &p,
                                         const area &of_dy, const unsigned *dy, float *room, float &sum) {
    const ls_conv2d_cuda_shape &s = a.shape;
    const int step = pixel_step(s.outputs, s.tf32);
    for (int i = (int)threadIdx.x; i < p.lines * s.outputs; i += TENSOR_THREADS) {
        const unsigned *from = dy + ((p.line + i / s.outputs - of_dy.top) * of_dy.wide - of_dy.left) * step;
        float line = 0;
        for (int j = 0; j < s.out_width; j++) line += factor_of<F>(from + j * step, i % s.outputs);
        room[i] = line;
    }
    __syncthreads();
    if ((int)threadIdx.x < s.outputs)
        for (int l = 0; l < p.lines; l++) sum += room[l * s.outputs + (int)threadIdx.x];
    __syncthreads();
}

/* --- sums of BatchNorms ------------------------------------------------------------------------ */

/* Adds those of a strip's lines to the image's. */
__device__ __forceinline__ void add_strip(const ls_conv2d_cuda_shape &s, int row, const strip &p,
                                          int first_input, const ls_summed &of, double *room, double &image) {
    ls_add_gradients(of, ((size_t)row * s.height + p.top) * s.width, p.bottom - p.top, s.width, s.inputs,
                     first_input, min((int)INPUTS, s.inputs - first_input), room, image);
}

/* --- the kernel -------------------------------------------------------------------------------- */

/* Grid: parts of shards, blocks of inputs, blocks of taps and outputs, of which the first makes dx'. */
template <class F, int N>
__global__ void __launch_bounds__(TENSOR_THREADS, 1)
    k_tensor_backward(ls_conv2d_cuda_tensor_backward a, unsigned *counter) {
    DYN_SHARED(unsigned, room);
    const ls_conv2d_cuda_shape &s = a.shape;
    const int parts = a.strips.parts, shard = (int)blockIdx.x / parts, part = (int)blockIdx.x % parts;
    const int first_input = (int)blockIdx.y * INPUTS, taps = s.kernel_h * s.kernel_w;
    const int output_blocks = divide_up(s.outputs, OUTPUTS), warp = (int)threadIdx.x / LS_WARP;
    const int outputs = min((int)OUTPUTS, s.outputs - (int)blockIdx.z % output_blocks * OUTPUTS);
    const int pairs = divide_up(outputs, PAIR);
    const share mine = {warp % pairs, warp / pairs, TENSOR_WARPS / pairs,
                        (int)blockIdx.z / output_blocks * TAPS, (int)blockIdx.z % output_blocks * OUTPUTS};
    const bool goes_back = a.has_dx && blockIdx.z == 0;
    const bool bias = a.dbias && blockIdx.y == 0 && blockIdx.z == 0;
    const int step = pixel_step(s.outputs, s.tf32);
    unsigned *zeros = room, *weights = zeros + step;
    unsigned *dy = weights + (a.has_dx ? taps * words_of(s.outputs, s.tf32) * WEIGHT_STEP : 0);
    for (int i = (int)threadIdx.x; i < step; i += TENSOR_THREADS) zeros[i] = 0;
    if (goes_back) stage_weights<F>(a, first_input, weights);
    ls_mma_c sum[TAPS][2] = {};
    float bias_sum = 0;
    const int begin = a.shards.start[shard], rows = a.shards.start[shard + 1] - begin;
    unsigned *x = dy;
    for (int row = begin + rows * part / parts; row < begin + rows * (part + 1) / parts; row++) {
        double image = 0, residual = 0;
        for (int line = 0; line < s.out_height; line += a.strips.lines) {
            const strip p = strip_of(s, line, a.strips.lines);
            const area of_dy = dy_area(s, p);
            x = dy + of_dy.high * of_dy.wide * step;
            __syncthreads();
            stage<F, N>(of_dy, s.out_height, s.out_width, 0, s.outputs, s.outputs, dy, [&](int pixel, int k) {
                return ls_grad_prologue_values<N>(a.dy, row, pixel * s.outputs + k, k);
            });
            if (a.dweight)
                stage<F, N>(x_area(s, p), s.height, s.width, first_input, INPUTS, s.inputs, x,
                            [&](int pixel, int c) {
                                return ls_prologue_values<cheap_ones, N>(a.in, row, pixel * s.inputs + c, c);
                            });
            __syncthreads();
            if (goes_back) multiply_back<F>(a, row, p, of_dy, first_input, dy, weights);
            if (a.dweight) multiply_weights<F>(a, p, of_dy, mine, dy, x, zeros, sum);
            __syncthreads();
            if (bias) add_bias<F>(a, p, of_dy, dy, (float *)x, bias_sum);
            if (goes_back && a.sums.sums)
                add_strip(s, row, p, first_input, ls_summed_of(a.in, a.dx), (double *)x, image);
            if (goes_back && a.residual_sums.sums)
                add_strip(s, row, p, first_input, ls_summed_of_residual(a.in, a.dx), (double *)x, residual);
        }
        const int columns = min((int)INPUTS, s.inputs - first_input);
        if (goes_back && a.sums.sums) ls_store_image(a.sums, row, s.inputs, first_input, columns, image);
        if (goes_back && a.residual_sums.sums)
            ls_store_image(a.residual_sums, row, s.inputs, first_input, columns, residual);
    }
    const size_t of_part = (size_t)(a.shards.first + shard) * parts + part;
    if (a.dweight)
        store_weights(a, mine, first_input, a.dweight + of_part * taps * s.inputs * s.outputs,
                      (float *)dy, sum);
    if (bias && (int)threadIdx.x < s.outputs) a.dbias[of_part * s.outputs + threadIdx.x] = bias_sum;
    if ((a.sums.sums || a.residual_sums.sums) && ls_last_block(counter, gridDim.x * gridDim.y * gridDim.z)) {
        ls_finish_gradients(a.sums, a.norm, s.inputs, a.shards);
        ls_finish_gradients(a.residual_sums, a.residual_norm, s.inputs, a.shards);
    }
}

/* --- parts, shards, nodes ---------------------------------------------------------------------- */

/* The sums of the nodes of every job: parts of a shard in order, from the first; shards by the tree. Grid:
 * blocks of elements, jobs. */
enum { ADD_THREADS = 128 };
__global__ void __launch_bounds__(ADD_THREADS, 1) k_add_parts(ls_conv2d_cuda_jobs jobs) {
    const ls_conv2d_cuda_job job = jobs.list[blockIdx.y];
    for (int i = (int)ls_thread(); i < job.count; i += (int)ls_stride())
        for (int n = 0; n < jobs.nodes; n++) {
            float pending[LS_MAX_TREE_DEPTH - 1][1], sum[1] = {0};
            for (int leaf = 0; leaf < jobs.shards[n]; leaf++) {
                const float *from = job.from + (size_t)(jobs.first[n] + leaf) * job.parts * job.count + i;
                sum[0] = from[0];
                for (int part = 1; part < job.parts; part++) sum[0] = sum[0] + from[(size_t)part * job.count];
                ls_merge_leaf<LS_MAX_TREE_DEPTH - 1, 1>(leaf, sum, pending);
            }
            job.to[n * jobs.node_stride + i] = sum[0];
        }
}

/* --- launchers --------------------------------------------------------------------------------- */

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Bytes of shared memory for strips of so many lines, of any of them. */
static size_t shared_bytes(const ls_conv2d_cuda_shape &s, int most) {
    const int step = pixel_step(s.outputs, s.tf32),
              pairs = divide_up(s.outputs < OUTPUTS ? s.outputs : (int)OUTPUTS, PAIR);
    const size_t weights = (size_t)s.kernel_h * s.kernel_w * words_of(s.outputs, s.tf32) * WEIGHT_STEP;
    size_t bytes = 0;
    for (int line = 0; line < s.out_height; line += most) {
        const strip p = strip_of(s, line, most);
        const area of_dy = dy_area(s, p), of_x = x_area(s, p);
        const size_t x = (size_t)of_x.high * of_x.wide * pixel_step(INPUTS, s.tf32) * 4;
        const size_t sums = (size_t)(p.bottom - p.top) * INPUTS * 2 * sizeof(double);
        const size_t bias = (size_t)p.lines * s.outputs * 4;
        bytes = largest(bytes, (size_t)of_dy.high * of_dy.wide * step * 4 + largest(x, largest(sums, bias)));
    }
    return (step + weights) * 4 + largest(bytes, (size_t)pairs * LANE_SUMS * LS_WARP * 4);
}

/* So many parts of a shard that 16 shards make about 128 blocks. */
ls_conv2d_cuda_strips ls_conv2d_cuda_backward_strips(const ls_conv2d_cuda_shape *s) {
    const int blocks = divide_up(s->inputs, INPUTS), parts = blocks >= 8 ? 1 : 8 / blocks;
    ls_conv2d_cuda_strips best = {0, INPUTS, parts, 0};
    if (s->outputs > TENSOR_THREADS) return best;
    for (int lines = 1; lines <= s->out_height && shared_bytes(*s, lines) <= MOST_SHARED; lines++)
        best = {lines, INPUTS, parts, shared_bytes(*s, lines)};
    return best;
}

template <class F, int N>
static void launch(struct ls_device *device, const ls_conv2d_cuda_tensor_backward &a) {
    const int taps = divide_up(a.shape.kernel_h * a.shape.kernel_w, TAPS),
              outputs = divide_up(a.shape.outputs, OUTPUTS);
    const dim3 grid((unsigned)(a.shards.count * a.strips.parts), (unsigned)divide_up(a.shape.inputs, INPUTS),
                    (unsigned)(a.dweight ? taps * outputs : 1));
    LS_LAUNCH(device, (k_tensor_backward<F, N>), grid, TENSOR_THREADS, a.strips.bytes, a,
              ls_device_counters(device));
}

void ls_conv2d_cuda_tensor_backward_launch(struct ls_device *device,
                                           const ls_conv2d_cuda_tensor_backward *a) {
    const bool fours = a->shape.inputs % 4 == 0 && a->shape.outputs % 4 == 0;
    if (a->shards.count == 0) return;
    if (a->shape.tf32)
        fours ? launch<ls_tf32_factors, 4>(device, *a) : launch<ls_tf32_factors, 1>(device, *a);
    else
        fours ? launch<ls_bf16_factors, 4>(device, *a) : launch<ls_bf16_factors, 1>(device, *a);
}

void ls_conv2d_cuda_add_parts(struct ls_device *device, const ls_conv2d_cuda_jobs *jobs) {
    int most = 0;
    for (int i = 0; i < jobs->count; i++) most = jobs->list[i].count > most ? jobs->list[i].count : most;
    if (jobs->count == 0 || jobs->nodes == 0) return;
    const dim3 grid(ls_blocks(most, ADD_THREADS).x, (unsigned)jobs->count);
    LS_LAUNCH(device, k_add_parts, grid, ADD_THREADS, 0, *jobs);
}
