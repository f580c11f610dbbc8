/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC11).
 *
 * A number is a pure function of what it is for, never of a rank, a thread or of how many were drawn before:
 *   key     = the run's seed
 *   counter = (time, item, purpose and op, block)
 * with time the step or the epoch, item the index of the sample in the data set, and block the element / 4.
 * Two dropout layers have different op indices and so never share a mask. */
#ifndef LOCKSTEP_CORE_RNG_H
#define LOCKSTEP_CORE_RNG_H

#include <stdint.h>

#include "core/real.h"

typedef enum ls_rng_purpose {
    LS_RNG_SPLIT = 1, /* the permutation that cuts the data into training and validation */
    LS_RNG_ORDER,     /* the order of the samples of an epoch */
    LS_RNG_INIT,      /* initial parameters */
    LS_RNG_DROPOUT,
    LS_RNG_AUGMENT,
    LS_RNG_TEST,
    LS_RNG_TENSOR /* ls_tensor_uniform */
} ls_rng_purpose;

/* A stream: everything of the key and the counter but the block. op < 2^24. */
typedef struct ls_rng {
    uint64_t seed;
    uint32_t time, item, purpose_and_op;
} ls_rng;

ls_rng ls_rng_stream(uint64_t seed, ls_rng_purpose purpose, uint32_t op, uint32_t time, uint32_t item);

/* Four 32-bit words, uniform and independent. Local, pure. */
void ls_rng_block(const ls_rng *rng, uint32_t block, uint32_t out[4]);

/* Fills words[0 .. 4 blocks) with blocks first, first+1, ..; the same words as ls_rng_block, many at a time.
 * For kernels of each tier (core/real.h). */
void LS_NAME(ls_rng_blocks)(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words);

/* A word as a number of the open interval (0, 1): (word + 1/2) / 2^32, exact in double. */
static inline double ls_rng_unit(uint32_t word) {
    return ((double)word + 0.5) * 0x1p-32;
}

/* A uniform integer of 0 .. n-1 from a 64-bit word: the high half of the product (bias below n / 2^64). */
uint64_t ls_rng_below(uint32_t high, uint32_t low, uint64_t n);

#endif
