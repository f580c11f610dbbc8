#include "core/rng.h"

#include <string.h>

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

uint64_t ls_rng_below(uint32_t high, uint32_t low, uint64_t n) {
    /* The high 64 bits of (high, low) * n, from 32-bit halves. */
    uint64_t n_high = n >> 32, n_low = n & 0xFFFFFFFFu;
    uint64_t carry = ((uint64_t)low * n_low) >> 32;
    uint64_t mid0 = (uint64_t)high * n_low + carry; /* at most (2^32-1)^2 + 2^32 - 2: no overflow */
    uint64_t mid1 = (uint64_t)low * n_high + (mid0 & 0xFFFFFFFFu);
    return (uint64_t)high * n_high + (mid0 >> 32) + (mid1 >> 32);
}
