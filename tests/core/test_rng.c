#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/rng.h"

#include <string.h>

#include "core/instruction_set.h"

/* Many blocks, by each tier that this processor has. */
typedef void (*many_blocks)(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words);
#ifdef __x86_64__
void ls_rng_blocks_avx2(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words);
void ls_rng_blocks_avx512(const ls_rng *rng, uint32_t first, uint32_t blocks, uint32_t *words);
static const many_blocks tier[] = {ls_rng_blocks_f32, ls_rng_blocks_avx2, ls_rng_blocks_avx512};
#else
static const many_blocks tier[] = {ls_rng_blocks_f32};
#endif

static int tiers(void) {
    const int has = (int)ls_instruction_set_supported() + 1, most = sizeof tier / sizeof *tier;
    return has < most ? has : most;
}

/* Random123, tests/kat_vectors, "philox4x32 10". */
static void known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t *counter = cases[i].counter;
        ls_rng rng = {.seed = (uint64_t)cases[i].key[1] << 32 | cases[i].key[0],
                      .time = counter[0],
                      .item = counter[1],
                      .purpose_and_op = counter[2]};
        uint32_t one[4], many[8 * 4];
        ls_rng_block(&rng, counter[3], one);
        assert_memory_equal(one, cases[i].expected, sizeof one);
        for (int t = 0; t < tiers(); t++) {
            tier[t](&rng, counter[3], 8, many);
            assert_memory_equal(many, cases[i].expected, sizeof one);
        }
    }
}

static void many_blocks_are_single_blocks(void **state) {
    (void)state;
    enum { MOST = 37 }; /* groups of up to 16 */
    for (uint32_t trial = 0; trial < 2000; trial++) {
        uint32_t draw[4];
        ls_rng chooser = ls_rng_stream(1, LS_RNG_TEST, 0, 0, trial);
        ls_rng_block(&chooser, 0, draw);
        ls_rng rng = ls_rng_stream((uint64_t)draw[0] << 32 | draw[1], LS_RNG_DROPOUT, draw[2] & 0xffffff,
                                   draw[3], draw[0] ^ draw[2]);
        uint32_t count = trial % (MOST + 1);
        uint32_t first =
            trial % 3 == 0 ? 0xffffffffu - trial % 7 : draw[1]; /* also across the end of the counter */
        uint32_t many[4 * MOST + 1], one[4];
        many[4 * count] = 0xdeadbeef;
        tier[trial / 3 % (uint32_t)tiers()](&rng, first, count, many);
        for (uint32_t i = 0; i < count; i++) {
            ls_rng_block(&rng, first + i, one);
            assert_memory_equal(many + (size_t)4 * i, one, sizeof one);
        }
        assert_int_equal(many[4 * count], 0xdeadbeef);
    }
}

static void every_part_of_a_stream_counts(void **state) {
    (void)state;
    const ls_rng streams[] = {
        ls_rng_stream(5, LS_RNG_DROPOUT, 1, 2, 3),
        ls_rng_stream(6, LS_RNG_DROPOUT, 1, 2, 3),
        ls_rng_stream(5 + (1ULL << 32), LS_RNG_DROPOUT, 1, 2, 3),
        ls_rng_stream(5, LS_RNG_AUGMENT, 1, 2, 3),
        ls_rng_stream(5, LS_RNG_DROPOUT, 2, 2, 3),
        ls_rng_stream(5, LS_RNG_DROPOUT, 1, 3, 3),
        ls_rng_stream(5, LS_RNG_DROPOUT, 1, 2, 4),
    };
    enum { COUNT = sizeof streams / sizeof *streams };
    uint32_t words[COUNT][4];
    for (int i = 0; i < COUNT; i++) {
        ls_rng_block(&streams[i], 0, words[i]);
        for (int j = 0; j < i; j++) assert_memory_not_equal(words[i], words[j], sizeof words[i]);
    }
    assert_int_equal(streams[0].purpose_and_op, (uint32_t)LS_RNG_DROPOUT << 24 | 1);
}

static void unit_is_open_and_even(void **state) {
    (void)state;
    assert_true(ls_rng_unit(0) == 0x1p-33);
    assert_true(ls_rng_unit(0xffffffff) == 1 - 0x1p-33);
    enum { BLOCKS = 1 << 16 };
    static uint32_t words[4 * BLOCKS];
    ls_rng rng = ls_rng_stream(7, LS_RNG_TEST, 0, 0, 0);
    ls_rng_blocks_f32(&rng, 0, BLOCKS, words);
    double sum = 0, squares = 0, n = 4.0 * BLOCKS;
    for (int i = 0; i < 4 * BLOCKS; i++) {
        double u = ls_rng_unit(words[i]);
        sum += u;
        squares += u * u;
    }
    /* Five standard errors: sqrt(1/12 / n) for the mean, sqrt(4/45 / n) for the mean square. */
    assert_true(sum / n > 0.5 - 5 * 0.000564 && sum / n < 0.5 + 5 * 0.000564);
    assert_true(squares / n > 1.0 / 3 - 5 * 0.000583 && squares / n < 1.0 / 3 + 5 * 0.000583);
}

static void below(void **state) {
    (void)state;
    assert_true(ls_rng_below(0xffffffff, 0xffffffff, 1) == 0);
    assert_true(ls_rng_below(0xffffffff, 0xffffffff, 60000) == 59999);
    assert_true(ls_rng_below(0xffffffff, 0xffffffff, UINT64_MAX) == UINT64_MAX - 1);
    assert_true(ls_rng_below(0, 0, UINT64_MAX) == 0);
    assert_true(ls_rng_below(0x80000000, 0, 60000) == 30000);
    assert_true(ls_rng_below(0x80000000, 0, UINT64_C(0xfffffffffffffffe)) == UINT64_C(0x7fffffffffffffff));
    /* 0x123456789abcdef0 * 0xfedcba9876543210 = 0x121fa00ad77d7422236d88fe5618cf00. */
    assert_true(ls_rng_below(0x12345678, 0x9abcdef0, UINT64_C(0xfedcba9876543210)) ==
                UINT64_C(0x121fa00ad77d7422));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(many_blocks_are_single_blocks),
        cmocka_unit_test(every_part_of_a_stream_counts),
        cmocka_unit_test(unit_is_open_and_even),
        cmocka_unit_test(below),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
