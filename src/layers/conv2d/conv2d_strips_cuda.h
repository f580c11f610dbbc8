/* Images in shared memory as words of factors (core/mma_cuda.h), for the convolution by tensor cores. */
#ifndef LOCKSTEP_LAYERS_CONV2D_STRIPS_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_STRIPS_CUDA_H

#include "core/last_block_cuda.h"
#include "core/mma_cuda.h"

#include "layers/batchnorm/cut_cuda.h"
#include "layers/conv2d/conv2d_tensor_cuda.h"
#include "layers/fusion_cuda.h"

using ls_activations::cheap_ones;

enum { TENSOR_THREADS = 256, TENSOR_WARPS = TENSOR_THREADS / LS_WARP };
/* Of shared memory, dynamic: every GPU with tensor cores for bf16 has 99 KiB for a block. */
enum { MOST_SHARED = 98 * 1024 };

__host__ __device__ static inline int divide_up(int a, int b) {
    return (a + b - 1) / b;
}
/* Rounded downwards, for positive b. */
__host__ __device__ static inline int divide_down(int a, int b) {
    return (a - (a % b + b) % b) / b;
}

/* Words of a pixel of so many channels: whole steps of a product. Four more lie between neighbours, so that 8
 * pixels begin in different banks. */
__host__ __device__ static inline int words_of(int channels, bool tf32) {
    return divide_up(channels, tf32 ? 8 : 16) * 8;
}
__host__ __device__ static inline int pixel_step(int channels, bool tf32) {
    return words_of(channels, tf32) + 4;
}

/* Lines [top, top + high) and columns [left, left + wide) of images; zeros outside. */
struct area {
    int top, left, high, wide;
};

/* PER_WORD neighbouring values as a word. */
template <class F> __device__ __forceinline__ unsigned word_of(const float *v) {
    if constexpr (F::PER_WORD == 2)
        return F::word(v[0], v[1]);
    else
        return F::word(v[0]);
}

/* Loads an area of an image of height x width pixels into to [high][wide][step]: load(pixel, channel) gives
 * four values for N = 4, else one. Channels [first, first + channels), of which `known` exist. */
template <class F, int N, class Load>
__device__ __forceinline__ void stage(const area &a, int height, int width, int first, int channels,
                                      int known, unsigned *to, const Load &load) {
    enum { AT_ONCE = N == 4 ? 4 : F::PER_WORD, WORDS = AT_ONCE / F::PER_WORD };
    const bool tf32 = F::PER_WORD == 1;
    const int groups = words_of(channels, tf32) / WORDS, step = pixel_step(channels, tf32);
    for (int i = (int)threadIdx.x; i < a.high * a.wide * groups; i += TENSOR_THREADS) {
        const int group = i % groups, at = i / groups, h = a.top + at / a.wide, w = a.left + at % a.wide;
        const int channel = first + group * AT_ONCE;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        float v[AT_ONCE];
        UNROLL
        for (int k = 0; k < AT_ONCE; k += N) {
            ls_values<N> x = {};
            if (inside && channel + k < known) x = load(h * width + w, channel + k);
            UNROLL
            for (int j = 0; j < N; j++) v[k + j] = x.v[j];
        }
        UNROLL
        for (int k = 0; k < WORDS; k++) to[at * step + group * WORDS + k] = word_of<F>(v + k * F::PER_WORD);
    }
}

#endif
