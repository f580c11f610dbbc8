/* What the file of an optimizer is written with. It is compiled once for each tier of instructions
 * (core/real.h), and holds
 *
 *  1. a function ls_direction, marked LS_DUAL_INLINE: d of optimizer.h for one element;
 *  2. LS_OPTIMIZER_KERNELS(name, moments, direction): the kernel of the tier, a loop around it;
 *  3. within #if LS_DEFINES_CLASS, so that they are there once: its keys, its scalars and its class,
 *     ls_NAME_optimizer.
 *
 * One that is in the list of optimizers_cuda.h has a kernel on GPUs too, of the same function.
 *
 * The loop does nothing but what works element by element, so all tiers give the same bits. While it holds an
 * element it adds up its bits, before and after: beside a root and a division that costs nothing. */
#ifndef LOCKSTEP_MODEL_OPTIMIZER_RULE_H
#define LOCKSTEP_MODEL_OPTIMIZER_RULE_H

#ifdef LS_FOR_CUDA

/* In a file of kernels (optimizers_cuda.cu) an optimizer is a type of that name. */
#define LS_SQRT          sqrtf
#define LS_DEFINES_CLASS 0
#define LS_OPTIMIZER_KERNELS(name, count, direction)                                                         \
    struct name {                                                                                            \
        enum { moments = count };                                                                            \
        static __device__ float apply(const float *scalars, float w, float g, float *m, float *v) {          \
            return direction(scalars, w, g, m, v);                                                           \
        }                                                                                                    \
    }

#else

#include <math.h>
#include <string.h>

#include "core/dual.h"
#include "core/real.h"
#include "model/optimizer.h"

#ifdef LS_F64
#define LS_SQRT sqrt
typedef uint64_t ls_real_bits;
#else
#define LS_SQRT sqrtf
typedef uint32_t ls_real_bits;
#endif

#if defined LS_F64 || defined LS_FOR_AVX2 || defined LS_FOR_AVX512
#define LS_DEFINES_CLASS 0
#else
#define LS_DEFINES_CLASS 1
#endif

static inline ls_real_bits ls_bits_of(real x) {
    ls_real_bits bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* d; sets the moments that there are to their new values. scalars: as the class made them, rounded. */
typedef real (*ls_direction)(const real *scalars, real w, real g, real *m, real *v);

/* Always inlined, so that `direction` and `moments` are constants of the loop. */
static inline __attribute__((always_inline)) ls_bit_sums
ls_update_elements(ls_direction direction, int moments, const ls_update *u, int64_t count, real *restrict w,
                   const real *restrict g, real *restrict m, real *restrict v) {
    const real rate = (real)u->rate, decay = (real)u->decay;
    real scalars[LS_UPDATE_SCALARS];
    ls_real_bits before = 0, after = 0;
    for (int i = 0; i < LS_UPDATE_SCALARS; i++) scalars[i] = (real)u->scalars[i];
    for (int64_t i = 0; i < count; i++) {
        real m_i = moments > 0 ? m[i] : 0, v_i = moments > 1 ? v[i] : 0;
        before += ls_bits_of(w[i]) + ls_bits_of(m_i) + ls_bits_of(v_i);
        w[i] -= rate * direction(scalars, w[i], g[i] + decay * w[i], &m_i, &v_i);
        after += ls_bits_of(w[i]) + ls_bits_of(m_i) + ls_bits_of(v_i);
        if (moments > 0) m[i] = m_i;
        if (moments > 1) v[i] = v_i;
    }
    return (ls_bit_sums){before, after};
}

#define LS_OPTIMIZER_KERNELS(name, moments, direction)                                                       \
    static ls_bit_sums apply(const ls_update *update, int64_t count, void *w, const void *g, void *m,        \
                             void *v, const ls_lane *lane) {                                                 \
        (void)lane;                                                                                          \
        return ls_update_elements(direction, moments, update, count, w, g, m, v);                            \
    }                                                                                                        \
    LS_KERNELS_CPU(ls_update_kernels, ls_##name##_update);                                                   \
    const ls_update_kernels LS_NAME(ls_##name##_update) = {.apply = apply}

/* Within #if LS_DEFINES_CLASS: the class's `kernels`. */
#define LS_OPTIMIZER_PICK(name)                                                                              \
    static const ls_update_kernels *kernels(const ls_backend *backend) {                                     \
        return LS_KERNELS_OF(backend, ls_##name##_update);                                                   \
    }

#endif

#endif
