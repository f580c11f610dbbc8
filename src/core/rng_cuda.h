/* core/rng.h in kernels: Philox4x32-10, a block of four words at a time. */
#ifndef LOCKSTEP_CORE_RNG_CUDA_H
#define LOCKSTEP_CORE_RNG_CUDA_H

#include "core/kernel_cuda.h"

struct ls_words {
    uint32_t v[4];
};

/* The words of ls_rng_block() for the stream of that key, time, item, and purpose and op. */
static __device__ __forceinline__ ls_words ls_rng_words(uint32_t key0, uint32_t key1, uint32_t time,
                                                        uint32_t item, uint32_t purpose_and_op,
                                                        uint32_t block) {
    uint32_t c0 = time, c1 = item, c2 = purpose_and_op, c3 = block;
    UNROLL
    for (int i = 0; i < 10; i++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
        const uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
    }
    return {{c0, c1, c2, c3}};
}

/* ls_rng_unit() */
static __device__ __forceinline__ double ls_rng_unit(uint32_t word) {
    return ((double)word + 0.5) * 0x1p-32;
}

#endif
