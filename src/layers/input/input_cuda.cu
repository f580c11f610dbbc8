/* Images: gathered, augmented, turned into numbers and perturbed, a block an image. Augmentation is that of
 * layers/input/augment.c, to the byte, without what makes it fast there. */
#include "core/kernel_cuda.h"

#include "core/elementary_cuda.h"
#include "core/now.h"
#include "core/rng_cuda.h"
#include "layers/input/input_cuda.h"
#include "layers/input/rotation.h"

enum { THREADS = 128 };

/* What happens to an image. */
enum turn { AS_IT_IS, HALF, LEFT, RIGHT, ANY_ANGLE };
struct plan {
    bool augmented, with_contrast;
    int turn;
    float brightness, contrast;
    ls_rotation rotation;
};

__device__ __forceinline__ double spread(uint32_t word, double most) {
    return (2 * ls_rng_unit(word) - 1) * most;
}

/* The turns that Pillow makes by moving pixels, and all others. */
__device__ __forceinline__ int turn_of(double degrees, int height, int width) {
    if (degrees == 0) return AS_IT_IS;
    if (degrees == 180) return HALF;
    if (height == width && degrees == 90) return LEFT;
    if (height == width && degrees == 270) return RIGHT;
    return ANY_ANGLE;
}

__device__ __forceinline__ void draw_plan(const ls_cuda_input &a, uint32_t sample, plan *p) {
    const uint32_t epoch = a.now ? a.now->in.epoch : a.epoch;
    const ls_words w = ls_rng_words(a.key[0], a.key[1], epoch, sample, a.purpose_and_op, 0);
    const ls_words more = ls_rng_words(a.key[0], a.key[1], epoch, sample, a.purpose_and_op, 1);
    p->augmented = ls_rng_unit(w.v[0]) < a.probability;
    const double degrees = ls_full_turn(spread(w.v[1], a.rotation));
    p->turn = turn_of(degrees, a.height, a.width);
    p->rotation = ls_rotation_of(degrees, a.height, a.width);
    p->brightness = (float)(1 + spread(w.v[2], a.brightness));
    p->with_contrast = ls_rng_unit(w.v[3]) < a.contrast_probability;
    p->contrast = (float)(1 + spread(more.v[0], a.contrast));
}

__device__ __forceinline__ int clipped(int i, int count) {
    return i < 0 ? 0 : i < count ? i : count - 1;
}

/* Of four values in a row at distance d behind the second. */
__device__ __forceinline__ double cubic(double v1, double v2, double v3, double v4, double d) {
    const double p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
    return v2 + d * (p2 + d * (p3 + d * p4));
}

__device__ __forceinline__ int to_byte(double v) {
    v = v > 0.0 ? v : 0.0;
    return (int)(v < 255.0 ? v : 255.0);
}

/* Pixel (x, y) of the image turned by any angle. */
__device__ __forceinline__ int interpolated(const ls_rotation &r, const uint8_t *in, int height, int width,
                                            int x, int y) {
    const double source_x = r.a * (x + 0.5) + r.b * (y + 0.5) + r.c;
    const double source_y = r.d * (x + 0.5) + r.e * (y + 0.5) + r.f;
    if (!(source_x >= 0 && source_x < width && source_y >= 0 && source_y < height)) return 0;
    const double column = floor(source_x - 0.5), row = floor(source_y - 0.5);
    double v[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        const uint8_t *line = in + (size_t)clipped((int)row - 1 + j, height) * width;
        double t[4];
        UNROLL
        for (int i = 0; i < 4; i++) t[i] = (double)line[clipped((int)column - 1 + i, width)];
        v[j] = cubic(t[0], t[1], t[2], t[3], source_x - 0.5 - column);
    }
    return to_byte(cubic(v[0], v[1], v[2], v[3], source_y - 0.5 - row));
}

__device__ __forceinline__ int turned(const plan &p, const uint8_t *in, int height, int width, int i) {
    const int x = i % width, y = i / width;
    switch (p.turn) {
    case AS_IT_IS: return in[i];
    case HALF: return in[height * width - 1 - i];
    case LEFT: return in[x * width + width - 1 - y];
    case RIGHT: return in[(height - 1 - x) * width + y];
    default: return interpolated(p.rotation, in, height, width, x, y);
    }
}

/* Pillow's ImagingBlend: single precision, clipped and cut off. */
__device__ __forceinline__ int blend(int byte, int base, float alpha) {
    float v = (float)base + alpha * (float)(byte - base);
    v = v > 0.0f ? v : 0.0f;
    return (int)(v < 255.0f ? v : 255.0f);
}

__device__ __forceinline__ float converted(const ls_cuda_input &a, int byte, int sign) {
    const float v = a.unit ? (float)byte / 255 : (float)byte, most = a.unit ? 1 : 255;
    if (!a.sign) return v;
    float moved = v + (float)a.epsilon * most * (float)sign;
    moved = moved > 0 ? moved : 0;
    return moved < most ? moved : most;
}

__global__ void __launch_bounds__(THREADS, 1) k_input_forward(ls_cuda_input a) {
    LS_SHARED(plan, p, [1]);
    LS_SHARED(unsigned long long, total, [1]); /* of the bytes */
    const int count = a.height * a.width;
    for (int row = a.first + (int)blockIdx.x; row < a.last; row += (int)gridDim.x) {
        const uint8_t *in = a.images + (size_t)a.sample[row] * count;
        const int8_t *sign = a.sign ? a.sign + (size_t)row * count : NULL;
        float *out = a.out + (size_t)row * count;
        __syncthreads();
        if (threadIdx.x == 0) {
            total[0] = 0;
            p[0].augmented = false;
            if (a.augments) draw_plan(a, a.sample[row], &p[0]);
        }
        __syncthreads();
        const bool augmented = p[0].augmented, with_contrast = augmented && p[0].with_contrast;
        if (augmented) { /* bytes wait in `out` for their contrast */
            unsigned long long sum = 0;
            for (int i = (int)threadIdx.x; i < count; i += THREADS) {
                const int byte = blend(turned(p[0], in, a.height, a.width, i), 0, p[0].brightness);
                out[i] = (float)byte;
                sum += (unsigned)byte;
            }
            if (with_contrast) atomicAdd(&total[0], sum);
        }
        __syncthreads();
        const int mean = (int)((double)total[0] / (double)count + 0.5);
        for (int i = (int)threadIdx.x; i < count; i += THREADS) {
            int byte = augmented ? (int)out[i] : in[i];
            if (with_contrast) byte = blend(byte, mean, p[0].contrast);
            out[i] = converted(a, byte, sign ? sign[i] : 0);
        }
    }
}

__global__ void __launch_bounds__(THREADS, 1)
    k_input_signs(const float *gradient, int64_t count, int8_t *sign) {
    for (int64_t i = ls_thread(); i < count; i += ls_stride())
        sign[i] = (int8_t)((gradient[i] > 0) - (gradient[i] < 0));
}

void ls_input_forward_cuda(struct ls_device *device, const ls_cuda_input *a) {
    if (a->first == a->last) return;
    LS_LAUNCH(device, k_input_forward, (unsigned)(a->last - a->first), THREADS, 0, *a);
}

void ls_input_signs_cuda(struct ls_device *device, const float *gradient, int64_t count, int8_t *sign) {
    if (count == 0) return;
    LS_LAUNCH(device, k_input_signs, ls_blocks(count, THREADS), THREADS, 0, gradient, count, sign);
}
