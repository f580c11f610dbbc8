/* Multiply-adds that depend on nothing but their own accumulator, without memory. Two units with a latency of
 * four need eight accumulators; there are twelve. */
#include "bench/ceilings.h"
#include "core/fused.h"

enum { ACCUMULATORS = 12 };

/* What is left of the sums is used, or there would be nothing to compute. */
static _Thread_local volatile double sink;

/* The whole function on a vector type: SET makes a vector of one number, FMA(f, g, s) is f g + s, ADD a sum.
 */
#define MULTIPLY_ADD_LOOP(name, attribute, vector, scalar, SET, FMA, ADD)                                    \
    attribute static double name(int64_t rounds) {                                                           \
        vector f = SET((scalar)1e-3), g = SET((scalar)1e-3);                                                 \
        vector s0 = SET(0), s1 = SET(1), s2 = SET(2), s3 = SET(3), s4 = SET(4), s5 = SET(5);                 \
        vector s6 = SET(6), s7 = SET(7), s8 = SET(8), s9 = SET(9), s10 = SET(10), s11 = SET(11);             \
        for (int64_t n = 0; n < rounds; n++) {                                                               \
            s0 = FMA(f, g, s0), s1 = FMA(f, g, s1), s2 = FMA(f, g, s2), s3 = FMA(f, g, s3);                  \
            s4 = FMA(f, g, s4), s5 = FMA(f, g, s5), s6 = FMA(f, g, s6), s7 = FMA(f, g, s7);                  \
            s8 = FMA(f, g, s8), s9 = FMA(f, g, s9), s10 = FMA(f, g, s10), s11 = FMA(f, g, s11);              \
        }                                                                                                    \
        s0 = ADD(ADD(ADD(s0, s1), ADD(s2, s3)), ADD(ADD(s4, s5), ADD(s6, s7)));                              \
        s0 = ADD(s0, ADD(ADD(s8, s9), ADD(s10, s11)));                                                       \
        scalar first;                                                                                        \
        __builtin_memcpy(&first, &s0, sizeof first);                                                         \
        sink = (double)first;                                                                                \
        return 2.0 * ACCUMULATORS * (double)(sizeof(vector) / sizeof(scalar)) * (double)rounds;              \
    }

/* --- portable: as its kernels multiply and add, on vectors of 16 bytes --------------------------------- */

typedef double two_doubles __attribute__((vector_size(16)));

/* As if f were changed: the product must not be computed once for all accumulators and rounds. */
#if defined(__x86_64__)
#define KEEP(f) __asm__ volatile("" : "+x"(f))
#elif defined(__aarch64__)
#define KEEP(f) __asm__ volatile("" : "+w"(f))
#else
#define KEEP(f) __asm__ volatile("" : "+m"(f))
#endif

static inline ls_four multiply_add_f32(ls_four f, ls_four g, ls_four s) {
    KEEP(f);
    return ls_multiply_add4(f, g, s);
}

static inline two_doubles multiply_add_f64(two_doubles f, two_doubles g, two_doubles s) {
    KEEP(f);
    return f * g + s;
}

#define SET_F32(x) ((ls_four){(float)(x), (float)(x), (float)(x), (float)(x)})
#define SET_F64(x) ((two_doubles){(double)(x), (double)(x)})
#define SUM(a, b)  ((a) + (b))

MULTIPLY_ADD_LOOP(portable_f32, , ls_four, float, SET_F32, multiply_add_f32, SUM)
MULTIPLY_ADD_LOOP(portable_f64, , two_doubles, double, SET_F64, multiply_add_f64, SUM)

/* --- x86 ------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
#define AVX2   __attribute__((target("avx2,fma")))

MULTIPLY_ADD_LOOP(avx512_f32, AVX512, __m512, float, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps)
MULTIPLY_ADD_LOOP(avx512_f64, AVX512, __m512d, double, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd)
MULTIPLY_ADD_LOOP(avx2_f32, AVX2, __m256, float, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps)
MULTIPLY_ADD_LOOP(avx2_f64, AVX2, __m256d, double, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd)

/* Pairs of bf16: a word of f or g is two factors. */
#define AVX512_BF16        __attribute__((target("avx512f,avx512bf16")))
#define DOT_PAIRS(f, g, s) _mm512_dpbf16_ps(s, (__m512bh)(f), (__m512bh)(g))
MULTIPLY_ADD_LOOP(words_of_pairs, AVX512_BF16, __m512, float, _mm512_set1_ps, DOT_PAIRS, _mm512_add_ps)

static double dot_pairs(int64_t rounds) {
    return 2 * words_of_pairs(rounds);
}
#endif

ls_register_loop ls_bf16_loop(void) {
#if defined(__x86_64__)
    if (ls_instruction_set_supported() >= LS_AVX512_BF16) return dot_pairs;
#endif
    return NULL;
}

ls_register_loop ls_fma_loop(ls_dtype dtype, ls_instruction_set *set) {
    const ls_instruction_set highest = ls_instruction_set_supported();
    *set = highest > LS_AVX512 ? LS_AVX512 : highest;
#if defined(__x86_64__)
    if (*set >= LS_AVX512) return dtype == LS_FP64 ? avx512_f64 : avx512_f32;
    if (*set >= LS_AVX2) return dtype == LS_FP64 ? avx2_f64 : avx2_f32;
#endif
    return dtype == LS_FP64 ? portable_f64 : portable_f32;
}
