/* Products of small matrices by tensor cores: C [16][8] += A [16][K] B [K][8], a warp at a time.
 *
 * A row of A and a column of B are words of 32 bits, WORDS = 8 of them: two bf16 numbers each, the earlier one
 * in the lower half (K = 16), or a tf32 number (K = 8). With group = lane / 4 and place = lane % 4 a lane holds
 *     A : words place and place + 4 of rows group and group + 8: w[0], w[2] and w[1], w[3];
 *     B : words place and place + 4 of column group;
 *     C : columns 2 place and 2 place + 1 of rows group (v[0], v[1]) and group + 8 (v[2], v[3]).
 *
 * In which order a tensor core adds, and what it rounds on the way, is not specified and differs by generation:
 * bits are those of an architecture and of a kernel. They do not depend on what else is multiplied, so they are
 * equal for any number of ranks. The emulation (tests/cuda/include/emulated_mma.h) adds in the order of K, each
 * product by a multiply-add that rounds once.
 *
 * Tensor cores have these products from compute capability 8.0 on: nothing calls them on an older device. */
#ifndef LOCKSTEP_CORE_MMA_CUDA_H
#define LOCKSTEP_CORE_MMA_CUDA_H

#include "core/kernel_cuda.h"

struct ls_mma_a {
    unsigned w[4];
};
struct ls_mma_b {
    unsigned w[2];
};
struct ls_mma_c {
    float v[4];
};

enum { LS_MMA_WORDS = 8, LS_MMA_ROWS = 16, LS_MMA_COLUMNS = 8 };

/* x with all but its upper bits cleared, DROPPED of them, rounded to nearest, ties to even; NaN stays one. */
template <int DROPPED> __device__ __forceinline__ unsigned ls_rounded_bits(float x) {
    const unsigned b = __float_as_uint(x), half = (1u << (DROPPED - 1)) - 1;
    const unsigned bits = x != x ? b | 0x400000u : b + half + (b >> DROPPED & 1u);
    return bits & ~((1u << DROPPED) - 1);
}

#ifdef __CUDACC__
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ < 800
#define LS_MMA_ASM(...) __trap()
#else
#define LS_MMA_ASM(...) asm volatile(__VA_ARGS__)
#endif
__device__ __forceinline__ void ls_mma_bf16(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
    LS_MMA_ASM("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
               "{%0,%1,%2,%3};"
               : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
               : "r"(a.w[0]), "r"(a.w[1]), "r"(a.w[2]), "r"(a.w[3]), "r"(b.w[0]), "r"(b.w[1]));
}
__device__ __forceinline__ void ls_mma_tf32(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
    LS_MMA_ASM("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
               "{%0,%1,%2,%3};"
               : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
               : "r"(a.w[0]), "r"(a.w[1]), "r"(a.w[2]), "r"(a.w[3]), "r"(b.w[0]), "r"(b.w[1]));
}
/* Four 8x8 matrices of 16 bits in shared memory; lane i gives the address of row i % 8 of matrix i / 8. */
__device__ __forceinline__ void ls_mma_matrices(const unsigned *row, unsigned (&to)[4]) {
    const unsigned at = (unsigned)__cvta_generic_to_shared(row);
    LS_MMA_ASM("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}
__device__ __forceinline__ void ls_mma_transposed(const unsigned *row, unsigned (&to)[4]) {
    const unsigned at = (unsigned)__cvta_generic_to_shared(row);
    LS_MMA_ASM("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}
#else
#include "emulated_mma.h"
#endif

/* What is multiplied: PER_WORD factors a word. */
struct ls_bf16_factors {
    enum { PER_WORD = 2 };
    static __device__ __forceinline__ unsigned word(float first, float second) {
        return ls_rounded_bits<16>(first) >> 16 | ls_rounded_bits<16>(second);
    }
    static __device__ __forceinline__ void multiply(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
        ls_mma_bf16(c, a, b);
    }
};
struct ls_tf32_factors {
    enum { PER_WORD = 1 };
    static __device__ __forceinline__ unsigned word(float first) { return ls_rounded_bits<13>(first); }
    static __device__ __forceinline__ void multiply(ls_mma_c &c, const ls_mma_a &a, const ls_mma_b &b) {
        ls_mma_tf32(c, a, b);
    }
};

/* A from rows of words in shared memory: lane i gives the address of word 0 of row i % 16, plus 4 words where i
 * is 16 or more. All lanes come; addresses are multiples of 16 bytes. */
__device__ __forceinline__ ls_mma_a ls_mma_rows(const unsigned *row) {
    ls_mma_a a;
    ls_mma_matrices(row, a.w);
    return a;
}

#endif
