/* The prologues and epilogues of layers/fusion_ref.h in kernels of CUDA: the same operations in the same order,
 * so the same bits, fused or not.
 *
 * An element is at (row, element of the row, channel). N is 4 or 2, where channels are a multiple of it (rows
 * then begin at addresses that are), and the element is one as well; otherwise 1. A is
 * ls_activations::cheap_ones in kernels of products, ls_activations::all_ones in those that work element by
 * element. */
#ifndef LOCKSTEP_LAYERS_FUSION_CUDA_H
#define LOCKSTEP_LAYERS_FUSION_CUDA_H

#include "core/rng_cuda.h"
#include "layers/activations_cuda.h"
#include "layers/fusion_args_cuda.h"

/* ls_derivative of graph/activation.h */
enum { LS_CUDA_DERIVATIVE_MASK, LS_CUDA_DERIVATIVE_OUTPUT, LS_CUDA_DERIVATIVE_INPUT };

template <int N> struct ls_values { float v[N]; };

template <int N> __device__ __forceinline__ ls_values<N> ls_load(const float *p) {
    static_assert(N == 1 || N == 2 || N == 4, "values are taken alone, by twos or by fours");
    ls_values<N> x;
    if constexpr (N == 4) {
        const float4 f = *(const float4 *)p;
        x.v[0] = f.x, x.v[1] = f.y, x.v[2] = f.z, x.v[3] = f.w;
    } else if constexpr (N == 2) {
        const float2 f = *(const float2 *)p;
        x.v[0] = f.x, x.v[1] = f.y;
    } else {
        x.v[0] = *p;
    }
    return x;
}

template <int N> __device__ __forceinline__ void ls_store(float *p, const ls_values<N> &x) {
    if constexpr (N == 4)
        *(float4 *)p = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    else if constexpr (N == 2)
        *(float2 *)p = make_float2(x.v[0], x.v[1]);
    else
        *p = x.v[0];
}

/* The bits of the bf16 number nearest to x, ties to even, above 16 zeros; NaN stays one. */
__device__ __forceinline__ unsigned ls_bf16_bits(float x) {
    const unsigned b = __float_as_uint(x);
    const unsigned bits = x != x ? b | 0x400000u : b + 0x7fffu + (b >> 16 & 1u);
    return bits & 0xffff0000u;
}

/* Values `at` of an array of fp32 or, `narrow`, of bf16 numbers. */
template <int N> __device__ __forceinline__ ls_values<N> ls_fetch(const void *array, size_t at, bool narrow) {
    if (!narrow) return ls_load<N>((const float *)array + at);
    const uint16_t *p = (const uint16_t *)array + at;
    ls_values<N> x;
    if constexpr (N == 1) {
        x.v[0] = __uint_as_float((unsigned)*p << 16);
    } else {
        unsigned w[N / 2];
        if constexpr (N == 4) {
            const uint2 two = *(const uint2 *)p;
            w[0] = two.x, w[1] = two.y;
        } else {
            w[0] = *(const unsigned *)p;
        }
        UNROLL
        for (int i = 0; i < N; i++) x.v[i] = __uint_as_float(i % 2 ? w[i / 2] & 0xffff0000u : w[i / 2] << 16);
    }
    return x;
}

/* Stores them, and returns what is then there. */
template <int N>
__device__ __forceinline__ ls_values<N> ls_put(void *array, size_t at, bool narrow, ls_values<N> x) {
    if (!narrow) {
        ls_store<N>((float *)array + at, x);
        return x;
    }
    uint16_t *p = (uint16_t *)array + at;
    unsigned bits[N];
    UNROLL
    for (int i = 0; i < N; i++) {
        bits[i] = ls_bf16_bits(x.v[i]);
        x.v[i] = __uint_as_float(bits[i]);
    }
    if constexpr (N == 4) {
        uint2 two;
        two.x = bits[0] >> 16 | bits[1];
        two.y = bits[2] >> 16 | bits[3];
        *(uint2 *)p = two;
    } else if constexpr (N == 2) {
        *(unsigned *)p = bits[0] >> 16 | bits[1];
    } else {
        *p = (uint16_t)(bits[0] >> 16);
    }
    return x;
}

/* How many values such a kernel takes at once. */
static inline int ls_values_at_once(int channels) {
    return channels % 4 == 0 ? 4 : 1;
}

/* A factor of a product, rounded to bf16 where that is wanted. */
__device__ __forceinline__ float ls_factor(float x, bool rounded) {
    return rounded ? __uint_as_float(ls_bf16_bits(x)) : x;
}

/* z = (z - mean) scale + shift */
template <int N>
__device__ __forceinline__ void ls_normalise(const ls_cuda_normalisation &norm, int channel,
                                             ls_values<N> &z) {
    const ls_values<N> mean = ls_load<N>(norm.mean + channel), scale = ls_load<N>(norm.scale + channel),
                       shift = ls_load<N>(norm.shift + channel);
    UNROLL
    for (int i = 0; i < N; i++) z.v[i] = (z.v[i] - mean.v[i]) * scale.v[i] + shift.v[i];
}

/* v = kept ? v * scale : 0 */
template <int N>
__device__ __forceinline__ void ls_drop(const ls_cuda_dropout &d, int row, int element, ls_values<N> &v) {
    const uint32_t step = d.now ? d.now->in.step : d.step;
    const ls_words words =
        ls_rng_words(d.key[0], d.key[1], step, d.sample[row], d.purpose_and_op, (uint32_t)element / 4);
    UNROLL
    for (int i = 0; i < N; i++) {
        uint32_t word = words.v[i];
        if (N == 2 && element % 4 == 2) word = words.v[2 + i % 2];
        if (N == 1)
            word = element % 4 == 0   ? words.v[0]
                   : element % 4 == 1 ? words.v[1]
                   : element % 4 == 2 ? words.v[2]
                                      : words.v[3];
        const float scaled = v.v[i] * d.scale;
        v.v[i] = word < d.threshold ? scaled : 0;
    }
}

/* z, what goes into the activation */
template <int N>
__device__ __forceinline__ ls_values<N> ls_prologue_inputs(const ls_cuda_prologue &p, int row, int element,
                                                           int channel) {
    const size_t at = (size_t)row * p.length + element;
    ls_values<N> z = ls_fetch<N>(p.x, at, p.narrow_x);
    if (p.norm.mean) ls_normalise(p.norm, channel, z);
    if (p.residual) {
        ls_values<N> r = ls_fetch<N>(p.residual, at, p.narrow_residual);
        if (p.residual_norm.mean) ls_normalise(p.residual_norm, channel, r);
        UNROLL
        for (int i = 0; i < N; i++) z.v[i] = z.v[i] + r.v[i];
    }
    return z;
}

template <class A, int N>
__device__ __forceinline__ ls_values<N> ls_prologue_activations(const ls_cuda_prologue &p, int row,
                                                                int element, int channel) {
    ls_values<N> z = ls_prologue_inputs<N>(p, row, element, channel);
    UNROLL
    for (int i = 0; i < N; i++) z.v[i] = A::apply(p.act.kind, p.act.parameter, z.v[i]);
    return z;
}

/* x'; the caller stores it where p.stored wants it, once. */
template <class A, int N>
__device__ __forceinline__ ls_values<N> ls_prologue_values(const ls_cuda_prologue &p, int row, int element,
                                                           int channel) {
    ls_values<N> x = ls_prologue_activations<A, N>(p, row, element, channel);
    if (p.dropout.active) ls_drop(p.dropout, row, element, x);
    return x;
}

/* dy; likewise */
template <int N>
__device__ __forceinline__ ls_values<N> ls_grad_prologue_values(const ls_cuda_grad_prologue &p, int row,
                                                                int element, int channel) {
    const size_t at = (size_t)row * p.length + element;
    ls_values<N> g = ls_fetch<N>(p.dz, at, p.narrow_dz);
    if (p.a) {
        const ls_values<N> y = ls_fetch<N>(p.y, at, p.narrow_y), mean = ls_load<N>(p.mean + channel),
                           a = ls_load<N>(p.a + channel), b = ls_load<N>(p.b + channel),
                           c = ls_load<N>(p.c + channel);
        UNROLL
        for (int i = 0; i < N; i++) g.v[i] = a.v[i] * g.v[i] + b.v[i] * (y.v[i] - mean.v[i]) + c.v[i];
    }
    return g;
}

/* dx' through the dropout and the activation: dz before it is added to anything. */
template <class A, int N>
__device__ __forceinline__ ls_values<N> ls_back_through(const ls_cuda_prologue &p, int row, int element,
                                                        int channel, ls_values<N> g) {
    const size_t at = (size_t)row * p.length + element;
    if (p.act.kind == LS_CUDA_NO_ACTIVATION) {
        if (p.dropout.active) ls_drop(p.dropout, row, element, g);
        return g;
    }
    ls_values<N> seen;
    if (p.act.derivative == LS_CUDA_DERIVATIVE_MASK && p.stored) {
        /* the mask is in x', whatever dropout has made of it */
        const float scale = p.dropout.active ? p.dropout.scale : 1;
        UNROLL
        for (int i = 0; i < N; i++) g.v[i] = g.v[i] * scale;
        seen = ls_fetch<N>(p.stored, at, p.narrow);
    } else {
        if (p.dropout.active) ls_drop(p.dropout, row, element, g);
        if (p.act.derivative == LS_CUDA_DERIVATIVE_INPUT)
            seen = ls_prologue_inputs<N>(p, row, element, channel);
        else if (p.stored && !p.dropout.active)
            seen = ls_fetch<N>(p.stored, at, p.narrow);
        else
            seen = ls_prologue_activations<A, N>(p, row, element, channel);
    }
    UNROLL
    for (int i = 0; i < N; i++) g.v[i] = A::gradient(p.act.kind, p.act.parameter, seen.v[i], g.v[i]);
    return g;
}

/* to = g, or to += g; to may be NULL. Returns what is then there, or would be. */
template <int N>
__device__ __forceinline__ ls_values<N> ls_store_gradient(void *to, bool narrow, bool accumulate, size_t at,
                                                          ls_values<N> g) {
    if (!to) return g;
    if (accumulate) {
        const ls_values<N> before = ls_fetch<N>(to, at, narrow);
        UNROLL
        for (int i = 0; i < N; i++) g.v[i] = before.v[i] + g.v[i];
    }
    return ls_put<N>(to, at, narrow, g);
}

/* What ls_grad_epilogue_values() has stored: the values that the sums of both BatchNorms are of. */
template <int N> struct ls_stored_gradients { ls_values<N> dz, dresidual; };

/* The whole gradient epilogue but its sums, from dx'. */
template <class A, int N>
__device__ __forceinline__ ls_stored_gradients<N>
ls_grad_epilogue_values(const ls_cuda_prologue &p, const ls_cuda_grad_epilogue &e, int row, int element,
                        int channel, ls_values<N> dx) {
    const size_t at = (size_t)row * p.length + element;
    if (e.others) {
        const ls_values<N> others = ls_fetch<N>(e.others, at, p.narrow);
        UNROLL
        for (int i = 0; i < N; i++) dx.v[i] = others.v[i] + dx.v[i];
    }
    const ls_values<N> g = ls_back_through<A, N>(p, row, element, channel, dx);
    ls_stored_gradients<N> stored;
    stored.dz = ls_store_gradient<N>(e.dz, e.narrow_dz, e.accumulate, at, g);
    stored.dresidual = ls_store_gradient<N>(e.dresidual, e.narrow_dresidual, e.dresidual_accumulate, at, g);
    return stored;
}

#endif
