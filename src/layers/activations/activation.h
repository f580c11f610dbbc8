/* For the files of activations, one of which is all that an activation is. Such a file is compiled for every
 * tier (core/real.h), and kernels of CUDA are made of it too (layers/activations_cuda.h). It defines
 *
 *     LS_DUAL_INLINE real forward(const ls_activation *act, real z)                  act(z)
 *     LS_DUAL_INLINE real backward(const ls_activation *act, real seen, real g)      act'(z) g
 *
 * where `seen` is what the class's `derivative` says, makes kernels of them by LS_ACTIVATION_KERNELS, and,
 * where LS_ONCE is set, defines the class and the layer. Numbers in between are `real` or double; exp and
 * its like come from core/elementary.h. */
#ifndef LOCKSTEP_LAYERS_ACTIVATION_H
#define LOCKSTEP_LAYERS_ACTIVATION_H

#ifdef LS_FOR_CUDA

/* A type `name` of the two functions. */
#define LS_ACTIVATION_KERNELS(name, type, forward, backward)                                                 \
    struct name {                                                                                            \
        static __device__ type apply(const ls_activation &act, type z) { return forward(&act, z); }          \
        static __device__ type gradient(const ls_activation &act, type seen, type g) {                       \
            return backward(&act, seen, g);                                                                  \
        }                                                                                                    \
    };
#define LS_KERNELS(type, name)
#define LS_NAME(name) name

#else

#include "core/dual.h"
#include "core/elementary.h"
#include "core/real.h"
#include "graph/activation.h"
#include "layers/elementwise.h"
#include "layers/layer.h"

/* The kernels `name` of elements of a type from those two functions. */
#define LS_ACTIVATION_KERNELS(name, type, forward, backward)                                                 \
    LS_ACTIVATION_KERNELS_NAMED(name, type, forward, backward)
#define LS_ACTIVATION_KERNELS_NAMED(name, type, forward, backward)                                           \
    static void name##_forward(const ls_activation *act, int64_t n, void *to) {                              \
        const ls_activation a = *act;                                                                        \
        type *restrict z = to;                                                                               \
        for (int64_t i = 0; i < n; i++) z[i] = (type)forward(&a, z[i]);                                      \
    }                                                                                                        \
    static void name##_backward(const ls_activation *act, int64_t n, const void *from, void *to) {           \
        const ls_activation a = *act;                                                                        \
        const type *restrict seen = from;                                                                    \
        type *restrict g = to;                                                                               \
        for (int64_t i = 0; i < n; i++) g[i] = (type)backward(&a, seen[i], g[i]);                            \
    }                                                                                                        \
    const ls_activation_kernels name = {name##_forward, name##_backward};

/* Members of a class: its kernels in all tiers, from LS_KERNELS(ls_activation_kernels, name). */
#ifdef __x86_64__
#define LS_ALL_TIERS(name)                                                                                   \
    .kernels_f32 = &name##_f32, .kernels_f64 = &name##_f64, .kernels_avx2 = &name##_avx2,                    \
    .kernels_avx512 = &name##_avx512
#else
#define LS_ALL_TIERS(name) .kernels_f32 = &name##_f32, .kernels_f64 = &name##_f64
#endif

#endif

#endif
