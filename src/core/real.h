/* One source, two precisions, and the tiers of instructions. Reference kernels are written with `real`. They
 * are compiled
 *
 *   as they are                             for fp32, in the portable tier
 *   with LS_F64                             for fp64, which gradient checks and `precision: fp64` use
 *   with LS_FOR_AVX2, with LS_FOR_AVX512    for wider vectors, if they work element by element
 *
 * Without contraction and reordering (-ffp-contract=off, no -ffast-math) the bits are the same in every tier.
 * LS_NAME(ls_prologue_rows) becomes ls_prologue_rows_f32, _f64, _avx2 or _avx512. */
#ifndef LOCKSTEP_CORE_REAL_H
#define LOCKSTEP_CORE_REAL_H

#ifdef LS_F64
typedef double real;
#define LS_TIER_NAME(name) name##_f64
#else
typedef float real;
#if defined LS_FOR_AVX512
#define LS_TIER_NAME(name) name##_avx512
#elif defined LS_FOR_AVX2
#define LS_TIER_NAME(name) name##_avx2
#else
#define LS_TIER_NAME(name) name##_f32
#endif
#endif

/* Products, compiled with LS_BF16 as well, round their two factors to bf16:
 *
 *   LS_PRODUCT_NAME(ls_dense_ref)    becomes ls_dense_ref_bf16_f32 there
 *   LS_NAME                          does the same in files for vector tiers, which hold nothing but products
 *                                    and their like; and in those of them that are compiled for the portable
 *                                    tier too, with LS_FOR_PORTABLE
 *   LS_TIER_NAME                     names the element-by-element kernels of the tier
 *
 * ls_dense_vector_bf16_avx512 is for the tier that has the dot product of pairs of bf16 numbers (LS_PAIRS). A
 * word of 32 bits then holds two factors. The first of them is in the upper half, which the processor adds
 * first. So a sum takes its products in their order, each with one rounding, as elsewhere.
 *
 * ls_dense_vector_bf16_amx, compiled with LS_FOR_AMX as well, is for AMX (LS_TILES, core/tiles.h): the
 * same words in tiles, whose products are summed in an order of their own.
 *
 * ls_dense_vector_rounded_avx512, with LS_ROUNDED, is for AVX-512 without the dot product: floats that are bf16
 * numbers, as for AVX2. */
#if defined LS_BF16 && defined LS_FOR_AMX
#define LS_PRODUCT_NAME(name) name##_bf16_amx
#elif defined LS_ROUNDED
#define LS_PRODUCT_NAME(name) name##_rounded_avx512
#elif defined LS_BF16
#define LS_PRODUCT_NAME(name) LS_TIER_NAME(name##_bf16)
#else
#define LS_PRODUCT_NAME(name) LS_TIER_NAME(name)
#endif
#if defined LS_FOR_AVX2 || defined LS_FOR_AVX512 || defined LS_FOR_PORTABLE
#define LS_NAME(name) LS_PRODUCT_NAME(name)
#else
#define LS_NAME(name) LS_TIER_NAME(name)
#endif
#if defined LS_BF16 && defined LS_FOR_AVX512 && !defined LS_ROUNDED
#define LS_PAIRS 1
#else
#define LS_PAIRS 0
#endif
/* What stands beside kernels in a file, and is the same for all tiers, stands behind #ifdef LS_ONCE. */
#if !defined LS_F64 && !defined LS_FOR_AVX2 && !defined LS_FOR_AVX512 && !defined LS_BF16 &&                 \
    !defined LS_FOR_CUDA
#define LS_ONCE
#endif
#ifdef LS_FOR_AMX
#define LS_TILES 1
#else
#define LS_TILES 0
#endif

#endif
