/* Many blocks of a stream at once, in the widest registers of each tier (core/real.h); gcc does not find this
 * form of it. Each word lies in the low half of a 64-bit lane. The multiplication reads the low halves alone,
 * so the high ones may hold anything: a product is its own low word, and shifted by 32 its high word. The
 * blocks of a stream differ in the last word of the counter alone, so the products of the first round are the
 * same for all. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "core/real.h"
#include "core/rng.h"

#if defined LS_FOR_AVX512 || defined LS_FOR_AVX2
#include <immintrin.h>
#elif defined __SSE2__
#include <emmintrin.h>
#endif

#include <Random123/philox.h>

enum { ROUNDS = 10 };

#if defined LS_FOR_AVX512

typedef __m512i wide;
#define BOTH(word)       _mm512_set1_epi64((int64_t)(word))
#define MULTIPLY(a, b)   _mm512_mul_epu32(a, b)
#define HIGH(a)          _mm512_srli_epi64(a, 32)
#define XOR(a, b)        _mm512_xor_si512(a, b)
#define ADD(a, b)        _mm512_add_epi32(a, b)
#define LOW_WORDS(a, b)  _mm512_unpacklo_epi32(a, b)
#define HIGH_WORDS(a, b) _mm512_unpackhi_epi32(a, b)
#define LOW_PAIRS(a, b)  _mm512_unpacklo_epi64(a, b)
#define STORE(p, a)      _mm512_storeu_si512(p, a)
#define PLACES           _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7)

#elif defined LS_FOR_AVX2

typedef __m256i wide;
#define BOTH(word)       _mm256_set1_epi64x((int64_t)(word))
#define MULTIPLY(a, b)   _mm256_mul_epu32(a, b)
#define HIGH(a)          _mm256_srli_epi64(a, 32)
#define XOR(a, b)        _mm256_xor_si256(a, b)
#define ADD(a, b)        _mm256_add_epi32(a, b)
#define LOW_WORDS(a, b)  _mm256_unpacklo_epi32(a, b)
#define HIGH_WORDS(a, b) _mm256_unpackhi_epi32(a, b)
#define LOW_PAIRS(a, b)  _mm256_unpacklo_epi64(a, b)
#define STORE(p, a)      _mm256_storeu_si256((__m256i *)(void *)(p), a)
#define PLACES           _mm256_setr_epi64x(0, 2, 1, 3)

#elif defined __SSE2__

typedef __m128i wide;
#define BOTH(word)       _mm_set1_epi64x((int64_t)(word))
#define MULTIPLY(a, b)   _mm_mul_epu32(a, b)
#define HIGH(a)          _mm_srli_epi64(a, 32)
#define XOR(a, b)        _mm_xor_si128(a, b)
#define ADD(a, b)        _mm_add_epi32(a, b)
#define LOW_WORDS(a, b)  _mm_unpacklo_epi32(a, b)
#define HIGH_WORDS(a, b) _mm_unpackhi_epi32(a, b)
#define LOW_PAIRS(a, b)  _mm_unpacklo_epi64(a, b)
#define STORE(p, a)      _mm_storeu_si128((__m128i *)(void *)(p), a)
#define PLACES           _mm_set_epi64x(1, 0)

#endif

#ifdef PLACES

/* A register has a block in each 64-bit lane. Lanes 2i and 2i + 1 are those of blocks i and i + HALF, so that
 * the words, put together in 128 bits each, come out in order. */
enum { BLOCKS = sizeof(wide) / 8, HALF = BLOCKS / 2, GROUP = 2 * BLOCKS };

typedef struct counters {
    wide c0, c1, c2, c3;
} counters;

static inline void next_round(counters *c, wide key0, wide key1) {
    const wide p0 = MULTIPLY(c->c0, BOTH(PHILOX_M4x32_0)), p1 = MULTIPLY(c->c2, BOTH(PHILOX_M4x32_1));
    c->c0 = XOR(XOR(c->c1, key0), HIGH(p1));
    c->c2 = XOR(XOR(c->c3, key1), HIGH(p0));
    c->c1 = p1;
    c->c3 = p0;
}

static inline void store_blocks(const counters *c, uint32_t *words) {
    const wide low01 = LOW_WORDS(c->c0, c->c1), low23 = LOW_WORDS(c->c2, c->c3);
    const wide high01 = HIGH_WORDS(c->c0, c->c1), high23 = HIGH_WORDS(c->c2, c->c3);
    STORE(words, LOW_PAIRS(low01, low23));
    STORE(words + 4 * HALF, LOW_PAIRS(high01, high23));
}

void LS_NAME(ls_rng_blocks)(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words) {
    const uint64_t product0 = (uint64_t)PHILOX_M4x32_0 * rng->time;
    const uint64_t product1 = (uint64_t)PHILOX_M4x32_1 * rng->purpose_and_op;
    uint32_t k0 = (uint32_t)rng->seed, k1 = (uint32_t)(rng->seed >> 32);
    const counters start = {.c0 = BOTH((uint32_t)(product1 >> 32) ^ rng->item ^ k0),
                            .c1 = BOTH((uint32_t)product1),
                            .c2 = BOTH((uint32_t)(product0 >> 32) ^ k1),
                            .c3 = BOTH((uint32_t)product0)};
    wide key0[ROUNDS], key1[ROUNDS];
    for (int r = 1; r < ROUNDS; r++) {
        key0[r] = BOTH(k0 += PHILOX_W32_0);
        key1[r] = BOTH(k1 += PHILOX_W32_1);
    }
    for (uint32_t done = 0; done < blocks; done += GROUP) {
        uint32_t last[4 * GROUP]; /* where the blocks end inside a group */
        const bool whole = blocks - done >= GROUP;
        uint32_t *to = whole ? words + 4 * (size_t)done : last;
        counters a = start, b = start;
        a.c2 = XOR(a.c2, ADD(BOTH(first + done), PLACES));
        b.c2 = XOR(b.c2, ADD(BOTH(first + done + BLOCKS), PLACES));
        for (int r = 1; r < ROUNDS; r++) {
            next_round(&a, key0[r], key1[r]);
            next_round(&b, key0[r], key1[r]);
        }
        store_blocks(&a, to);
        store_blocks(&b, to + 4 * BLOCKS);
        if (!whole) {
            memcpy(words + 4 * (size_t)done, last, 4 * (size_t)(blocks - done) * sizeof *words);
            return;
        }
    }
}

#else

void LS_NAME(ls_rng_blocks)(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words) {
    for (uint32_t i = 0; i < blocks; i++) ls_rng_block(rng, first + i, words + 4 * (size_t)i);
}

#endif
