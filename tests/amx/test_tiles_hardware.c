/* The emulated tiles against those of the processor, to the bit, where it has them: products of random
 * numbers, of denormal ones and of some that are not finite, in tiles of several shapes. Skipped elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/instruction_set.h"
#include "core/rng.h"
#include "core/tiles.h"

/* c [rows][columns] += a [rows][words] b [words][columns], twice, so that the second begins with what the
 * first left; rows lie 16 words apart. */
typedef struct product {
    int64_t rows, words, columns;
    uint32_t a[16][16], b[16][16], c[16][16];
} product;

#define MULTIPLY_TILES(name)                                                                                 \
    static void name(product *p) {                                                                           \
        ls_tile_shapes shapes = {0};                                                                         \
        ls_tile_shape(&shapes, 0, p->rows, p->columns);                                                      \
        ls_tile_shape(&shapes, 1, p->rows, p->words);                                                        \
        ls_tile_shape(&shapes, 2, p->words, p->columns);                                                     \
        LS_TILES_CONFIGURE(&shapes);                                                                         \
        LS_TILE_LOAD(0, p->c, 16);                                                                           \
        LS_TILE_LOAD(1, p->a, 16);                                                                           \
        LS_TILE_LOAD(2, p->b, 16);                                                                           \
        LS_TILE_MULTIPLY(0, 1, 2);                                                                           \
        LS_TILE_MULTIPLY(0, 1, 2);                                                                           \
        LS_TILE_STORE(0, p->c, 16);                                                                          \
        LS_TILES_RELEASE();                                                                                  \
    }

__attribute__((target("amx-tile,amx-bf16"))) MULTIPLY_TILES(multiply_on_processor)

#include "amx/emulated_tiles.h" /* from here on tiles are emulated */

    MULTIPLY_TILES(multiply_emulated)

    /* A bf16 number, or fp32's upper half, with an exponent from `lowest` on, of `range`. */
    static uint32_t number(uint32_t random, uint32_t lowest, uint32_t range) {
    return (random & 0x807f) | (lowest + (random >> 16) % range) << 7;
}

static bool same(uint32_t x, uint32_t y) {
    const uint32_t infinity = 0x7f800000u, magnitude = 0x7fffffffu;
    return x == y || ((x & magnitude) > infinity && (y & magnitude) > infinity);
}

static void compare(uint32_t seed, uint32_t lowest, uint32_t range) {
    product p = {.rows = 1 + seed % 16, .words = 1 + seed / 3 % 16, .columns = 1 + seed / 7 % 16}, q;
    uint32_t random[5 * 256];
    const ls_rng rng = ls_rng_stream(1, LS_RNG_TEST, 0, 0, seed);
    LS_NAME(ls_rng_blocks)(&rng, 0, 5 * 256 / 4, random);
    for (int i = 0; i < 256; i++) {
        const uint32_t *r = random + 5 * i;
        p.a[i / 16][i % 16] = number(r[0], lowest, range) | number(r[1], lowest, range) << 16;
        p.b[i / 16][i % 16] = number(r[2], lowest, range) | number(r[3], lowest, range) << 16;
        p.c[i / 16][i % 16] = number(r[4], lowest, range) << 16 | (r[4] >> 16 & 0xffff);
    }
    q = p;
    multiply_on_processor(&p);
    multiply_emulated(&q);
    for (int i = 0; i < 256; i++)
        if (!same(p.c[i / 16][i % 16], q.c[i / 16][i % 16]))
            fail_msg("seed %u, exponents from %u: c[%d][%d] is %08x on the processor, %08x emulated", seed,
                     lowest, i / 16, i % 16, p.c[i / 16][i % 16], q.c[i / 16][i % 16]);
}

static void same_bits(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 400; seed++) {
        compare(seed, 117, 16); /* ordinary */
        compare(seed, 52, 20);  /* products on both sides of the least normal number */
        compare(seed, 0, 3);    /* denormal factors and sums */
        compare(seed, 180, 76); /* overflow, infinities, NaN */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits)};
    if (ls_instruction_set_supported() < LS_AMX) {
        printf("skipped: this processor, or its system, has no AMX\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
