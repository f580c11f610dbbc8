/* The transforms of Winograd's F(T x T, 3x3), T = 2 or 4, on a device: lines of a tile, in the order of
 * conv2d.h. A product with a power of two is exact, so that fusing it changes no bit. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WINOGRAD_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_WINOGRAD_CUDA_H

#include "core/kernel_cuda.h"

/* T + 2 pixels of a line. */
template <int T> __device__ __forceinline__ void winograd_pixels(const float *d, float *to) {
    if constexpr (T == 2) {
        to[0] = d[0] - d[2];
        to[1] = d[1] + d[2];
        to[2] = d[2] - d[1];
        to[3] = d[3] - d[1];
    } else {
        const float c = d[4] - d[2], e = d[3] - d[1];
        const float a = fmaf(-4, d[2], d[4]), b = fmaf(-4, d[1], d[3]);
        to[0] = fmaf(4, d[0] - d[2], c);
        to[1] = a + b;
        to[2] = a - b;
        to[3] = fmaf(2, e, c);
        to[4] = fmaf(-2, e, c);
        to[5] = fmaf(-4, e, d[5] - d[3]);
    }
}

/* T gradients of a line. */
template <int T> __device__ __forceinline__ void winograd_gradients(const float *e, float *to) {
    if constexpr (T == 2) {
        to[0] = e[0];
        to[1] = e[0] + e[1];
        to[2] = e[0] - e[1];
        to[3] = e[1];
    } else {
        const float p = e[0] + e[2], q = e[1] + e[3], r = fmaf(4, e[2], e[0]), s = fmaf(4, e[3], e[1]);
        to[0] = e[0];
        to[1] = p + q;
        to[2] = p - q;
        to[3] = fmaf(2, s, r);
        to[4] = fmaf(-2, s, r);
        to[5] = e[3];
    }
}

/* What position (i, j) of F(4x4) is multiplied with: the fp32 number nearest to n_i n_j. */
__device__ __forceinline__ double winograd_fraction(int i) {
    return i == 0 ? 1 / 4.0 : i <= 2 ? -1 / 6.0 : i <= 4 ? 1 / 24.0 : 1.0;
}
template <int T> __device__ __forceinline__ float winograd_scaled(float v, int i, int j) {
    if constexpr (T == 2) return v;
    return v * (float)(winograd_fraction(i) * winograd_fraction(j));
}

/* Three weights of a line; of F(4x4) without their scale. */
template <int T> __device__ __forceinline__ void winograd_weights(const float *w, float *to) {
    const float ends = w[0] + w[2];
    to[0] = w[0];
    if constexpr (T == 2) {
        to[1] = (ends + w[1]) * 0.5f;
        to[2] = (ends - w[1]) * 0.5f;
    } else {
        const float far = fmaf(4, w[2], w[0]);
        to[1] = ends + w[1];
        to[2] = ends - w[1];
        to[3] = fmaf(2, w[1], far);
        to[4] = fmaf(-2, w[1], far);
    }
    to[T + 1] = w[2];
}

/* T results of a line from its T + 2 sums. */
template <int T> __device__ __forceinline__ void winograd_results(const float *m, float *to) {
    const float p = m[1] + m[2], q = m[1] - m[2];
    if constexpr (T == 2) {
        to[0] = (m[0] + m[1]) + m[2];
        to[1] = q + m[3];
    } else {
        const float r = m[3] + m[4], s = m[3] - m[4];
        to[0] = (m[0] + p) + r;
        to[1] = fmaf(2, s, q);
        to[2] = fmaf(4, r, p);
        to[3] = fmaf(8, s, q) + m[5];
    }
}

/* Three weight gradients of a line from its sums; those of F(4x4) have been multiplied with their scale. */
template <int T> __device__ __forceinline__ void winograd_taps(const float *m, float *to) {
    const float p = m[1] + m[2], q = m[1] - m[2];
    if constexpr (T == 2) {
        const float middle = p * 0.5f;
        to[0] = middle + m[0];
        to[1] = q * 0.5f;
        to[2] = middle + m[3];
    } else {
        const float r = m[3] + m[4], s = m[3] - m[4];
        to[0] = (m[0] + p) + r;
        to[1] = fmaf(2, s, q);
        to[2] = fmaf(4, r, p) + m[5];
    }
}

#endif
