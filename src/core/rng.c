#include "core/rng.h"

#include <stddef.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <Random123/philox.h>

enum { ROUNDS = 10 };

ls_rng ls_rng_stream(uint64_t seed, ls_rng_purpose purpose, uint32_t op, uint32_t time, uint32_t item) {
    return (ls_rng){.seed = seed,
                    .time = time,
                    .item = item,
                    .purpose_and_op = (uint32_t)purpose << 24 | (op & 0xFFFFFFu)};
}

void ls_rng_block(const ls_rng *rng, uint32_t block, uint32_t out[4]) {
    philox4x32_ctr_t counter = {{rng->time, rng->item, rng->purpose_and_op, block}};
    philox4x32_key_t key = {{(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)}};
    philox4x32_ctr_t result = philox4x32_R(ROUNDS, counter, key);
    memcpy(out, result.v, 4 * sizeof *out);
}

#ifdef __SSE2__

/* Four blocks in SSE2, which every x86-64 has (gcc does not find this form of it): two blocks to a register,
 * each word in the low half of a 64-bit lane. pmuludq reads the low halves alone, so the high halves may hold
 * anything: a product is its own low word, and shifted by 32 its high word. The blocks of a stream differ in
 * the last word of the counter alone, so the products of the first round are the same for all. */
enum { GROUP = 4 };

typedef struct pair {
    __m128i c0, c1, c2, c3;
} pair;

static inline __m128i both(uint32_t word) {
    return _mm_set1_epi64x((int64_t)word);
}

static inline void round_pair(pair *p, __m128i key0, __m128i key1) {
    __m128i p0 = _mm_mul_epu32(p->c0, both(PHILOX_M4x32_0));
    __m128i p1 = _mm_mul_epu32(p->c2, both(PHILOX_M4x32_1));
    p->c0 = _mm_xor_si128(_mm_xor_si128(p->c1, key0), _mm_srli_epi64(p1, 32));
    p->c2 = _mm_xor_si128(_mm_xor_si128(p->c3, key1), _mm_srli_epi64(p0, 32));
    p->c1 = p1;
    p->c3 = p0;
}

static inline void store_pair(const pair *p, uint32_t *words) {
    __m128i even01 = _mm_unpacklo_epi32(p->c0, p->c1), even23 = _mm_unpacklo_epi32(p->c2, p->c3);
    __m128i odd01 = _mm_unpackhi_epi32(p->c0, p->c1), odd23 = _mm_unpackhi_epi32(p->c2, p->c3);
    _mm_storeu_si128((__m128i *)(void *)words, _mm_unpacklo_epi64(even01, even23));
    _mm_storeu_si128((__m128i *)(void *)(words + 4), _mm_unpacklo_epi64(odd01, odd23));
}

static uint32_t many(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words) {
    uint64_t product0 = (uint64_t)PHILOX_M4x32_0 * rng->time;
    uint64_t product1 = (uint64_t)PHILOX_M4x32_1 * rng->purpose_and_op;
    uint32_t k0 = (uint32_t)rng->seed, k1 = (uint32_t)(rng->seed >> 32);
    pair start = {.c0 = both((uint32_t)(product1 >> 32) ^ rng->item ^ k0),
                  .c1 = both((uint32_t)product1),
                  .c2 = both((uint32_t)(product0 >> 32) ^ k1),
                  .c3 = both((uint32_t)product0)};
    __m128i key0[ROUNDS], key1[ROUNDS];
    for (int r = 1; r < ROUNDS; r++) {
        key0[r] = both(k0 += PHILOX_W32_0);
        key1[r] = both(k1 += PHILOX_W32_1);
    }
    uint32_t done = 0;
    for (; blocks - done >= GROUP; done += GROUP) {
        uint32_t block = first + done;
        pair a = start, b = start;
        a.c2 = _mm_xor_si128(a.c2, _mm_set_epi64x((int64_t)(uint32_t)(block + 1), (int64_t)block));
        b.c2 = _mm_xor_si128(b.c2,
                             _mm_set_epi64x((int64_t)(uint32_t)(block + 3), (int64_t)(uint32_t)(block + 2)));
        for (int r = 1; r < ROUNDS; r++) {
            round_pair(&a, key0[r], key1[r]);
            round_pair(&b, key0[r], key1[r]);
        }
        store_pair(&a, words + 4 * (size_t)done);
        store_pair(&b, words + 4 * (size_t)done + 8);
    }
    return done;
}

#else

static uint32_t many(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words) {
    (void)rng, (void)first, (void)blocks, (void)words;
    return 0;
}

#endif

void ls_rng_blocks(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words) {
    for (uint32_t i = many(rng, first, blocks, words); i < blocks; i++)
        ls_rng_block(rng, first + i, words + 4 * (size_t)i);
}

uint64_t ls_rng_below(uint32_t high, uint32_t low, uint64_t n) {
    /* The high 64 bits of (high, low) * n, from 32-bit halves. */
    uint64_t n_high = n >> 32, n_low = n & 0xFFFFFFFFu;
    uint64_t carry = ((uint64_t)low * n_low) >> 32;
    uint64_t mid0 = (uint64_t)high * n_low + carry; /* at most (2^32-1)^2 + 2^32 - 2: no overflow */
    uint64_t mid1 = (uint64_t)low * n_high + (mid0 & 0xFFFFFFFFu);
    return (uint64_t)high * n_high + (mid0 >> 32) + (mid1 >> 32);
}
