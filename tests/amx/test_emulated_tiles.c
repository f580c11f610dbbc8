/* The emulated tiles: the order of a product's sums, denormals, shapes, and that they end the program where
 * the processor would fault. */
#include "amx/emulated_tiles.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/tiles.h"

/* A bf16 number that is a power of two. */
static uint32_t power(int exponent) {
    return (uint32_t)(exponent + 127) << 7;
}

static uint32_t pair(uint32_t low, uint32_t high) {
    return high << 16 | low;
}

/* Tile 0 of 2 x 3, 1 of 2 rows of so many words, 2 of as many rows of 3. */
static void configure(int64_t words) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 2, 3);
    ls_tile_shape(&shapes, 1, 2, words);
    ls_tile_shape(&shapes, 2, words, 3);
    LS_TILES_CONFIGURE(&shapes);
}

static void order(void **state) {
    (void)state;
    /* 1 + 2^-24 + 2^-24 is 1 in the lower halves, where each is lost; 2^-24 + 2^-24 is 2^-23 in the upper
     * ones */
    const uint32_t one = power(0), tiny = power(-24);
    const uint32_t a[2][4] = {{pair(one, tiny), pair(tiny, tiny), pair(tiny, 0), 99},
                              {pair(one, 0), 0, 0, 99}};
    const uint32_t ones = pair(one, one),
                   b[3][3] = {{ones, ones, 0}, {ones, ones, 0}, {ones, pair(0, one), ones}};
    float c[2][4] = {{0, 1, 2, 7}, {-1, 0x1p-126f * 0.5f, 3, 7}};
    configure(3);
    LS_TILE_LOAD(0, c, 4);
    LS_TILE_LOAD(1, a, 4);
    LS_TILE_LOAD(2, b, 3);
    LS_TILE_MULTIPLY(0, 1, 2);
    LS_TILE_STORE(0, c, 4);
    LS_TILES_RELEASE();
    const float want[2][4] = {{1 + 0x1p-23f, 2 + 0x1p-23f, 2 + 0x1p-24f, 7}, {0, 1, 3, 7}};
    for (int i = 0; i < 8; i++)
        if (c[i / 4][i % 4] != want[i / 4][i % 4])
            fail_msg("c[%d][%d] = %a, expected %a", i / 4, i % 4, (double)c[i / 4][i % 4],
                     (double)want[i / 4][i % 4]);
}

static void denormals(void **state) {
    (void)state;
    assert_true(emulated_multiply_add(0x1p-100f, 0x1p-30f, 0) == 0);
    assert_true(emulated_multiply_add(0x1p-130f, 0x1p100f, 1) == 1);
    assert_true(emulated_multiply_add(0x1p-100f, 0x1p-26f, 0) == 0x1p-126f);
    assert_true(emulated_add(0x1.8p-126f, -0x1p-126f) == 0);
    assert_true(emulated_add(0x1p-130f, 1) == 1);
}

static void without_configuration(void) {
    _tile_zero(0);
}
static void beside_the_configuration(void) {
    configure(3);
    _tile_zero(3);
}
static void after_release(void) {
    configure(3);
    LS_TILES_RELEASE();
    _tile_zero(0);
}
static void rows_that_differ(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 2, 3);
    ls_tile_shape(&shapes, 1, 3, 4);
    ls_tile_shape(&shapes, 2, 4, 3);
    LS_TILES_CONFIGURE(&shapes);
    LS_TILE_MULTIPLY(0, 1, 2);
}
static void words_that_differ(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 2, 3);
    ls_tile_shape(&shapes, 1, 2, 5);
    ls_tile_shape(&shapes, 2, 4, 3);
    LS_TILES_CONFIGURE(&shapes);
    LS_TILE_MULTIPLY(0, 1, 2);
}
static void columns_that_differ(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 2, 3);
    ls_tile_shape(&shapes, 1, 2, 4);
    ls_tile_shape(&shapes, 2, 4, 2);
    LS_TILES_CONFIGURE(&shapes);
    LS_TILE_MULTIPLY(0, 1, 2);
}
static void one_tile_twice(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 16, 16);
    ls_tile_shape(&shapes, 1, 16, 16);
    LS_TILES_CONFIGURE(&shapes);
    LS_TILE_MULTIPLY(0, 1, 1);
}
static void too_many_rows(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 17, 16);
    LS_TILES_CONFIGURE(&shapes);
}
static void no_rows(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 0, 0, 16);
    LS_TILES_CONFIGURE(&shapes);
}
static void a_ninth_tile(void) {
    ls_tile_shapes shapes = {0};
    ls_tile_shape(&shapes, 8, 16, 16);
    LS_TILES_CONFIGURE(&shapes);
}

static void faults(void **state) {
    (void)state;
    static void (*const wrong[])(void) = {
        without_configuration, beside_the_configuration, after_release, rows_that_differ, words_that_differ,
        columns_that_differ,   one_tile_twice,           too_many_rows, no_rows,          a_ninth_tile};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status;
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            wrong[i]();
            _exit(0);
        }
        assert_true(waitpid(child, &status, 0) == child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) fail_msg("fault %zu went unseen", i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(order), cmocka_unit_test(denormals),
                                       cmocka_unit_test(faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
