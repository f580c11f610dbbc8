#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/rng.h"
#include "layers/input/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const ls_augment_kernels *kernels; /* of the tier under test */

enum { SIDE = 28, PIXELS = SIDE * SIDE };

static const ls_augmentation published = {
    .probability = 0.5, .rotation = 45, .brightness = 0.2, .contrast = 0.2, .contrast_probability = 0.8};

static uint32_t word(uint32_t op, uint32_t index) {
    ls_rng rng = ls_rng_stream(3, LS_RNG_TEST, op, 0, 0);
    uint32_t words[4];
    ls_rng_block(&rng, index, words);
    return words[0];
}

static void fill(uint8_t *image, size_t count, uint32_t op) {
    for (size_t i = 0; i < count; i++) image[i] = (uint8_t)(word(op, (uint32_t)i) >> 24);
}

/* Scratch of exactly the size asked for, at an address of no alignment, so that sanitizers see what goes
 * beyond. */
static void rotate(const uint8_t *in, int height, int width, double degrees, uint8_t *out) {
    size_t size = kernels->scratch_bytes(height, width);
    char *memory = malloc(size + 1);
    assert_non_null(memory);
    memset(memory, 0x5a, size + 1);
    kernels->rotate(in, height, width, degrees, out, memory + 1);
    free(memory);
}

static const uint8_t small[25] = {0,   50, 100, 150, 200, 255, 10, 20, 30, 40,  7,   77, 177,
                                  250, 3,  90,  80,  255, 60,  50, 0,  0,  128, 255, 255};

/* What Pillow 9.4 makes of `small`; augment_pillow.py asks the Pillow that is installed. */
static void small_cases_are_pillows(void **state) {
    (void)state;
    static const uint8_t by_30[25] = {0,   123, 106, 75, 0,   36,  4,   47, 129, 0,  188, 30, 177,
                                      189, 42,  31,  41, 198, 199, 237, 0,  75,  21, 77,  0};
    static const uint8_t by_minus_17_5[25] = {0,   78, 62, 133, 0,   109, 66, 2, 17, 111, 49,  103, 177,
                                              208, 9,  29, 129, 225, 64,  0,  0, 43, 210, 167, 0};
    static const uint8_t brighter[25] = {0,   60, 120, 180, 240, 255, 12, 24, 36, 48,  8,   92, 212,
                                         255, 3,  108, 96,  255, 72,  60, 0,  0,  153, 255, 255};
    static const uint8_t flatter[25] = {20,  60, 100, 140, 180, 224, 28, 36, 44, 52,  26,  82, 162,
                                        220, 22, 92,  84,  224, 68,  60, 20, 20, 122, 224, 224};
    uint8_t out[25];
    rotate(small, 5, 5, 30, out);
    assert_memory_equal(out, by_30, sizeof out);
    rotate(small, 5, 5, -17.5, out);
    assert_memory_equal(out, by_minus_17_5, sizeof out);
    rotate(small, 5, 5, 360 - 17.5, out);
    assert_memory_equal(out, by_minus_17_5, sizeof out);
    memcpy(out, small, sizeof out);
    kernels->brightness(out, sizeof out, 1.2);
    assert_memory_equal(out, brighter, sizeof out);
    memcpy(out, small, sizeof out);
    kernels->contrast(out, sizeof out, 0.8);
    assert_memory_equal(out, flatter, sizeof out);
}

static void quarter_turns_move_pixels(void **state) {
    (void)state;
    uint8_t in[PIXELS], out[PIXELS];
    fill(in, PIXELS, 1);
    for (int turns = -4; turns <= 4; turns++) {
        rotate(in, SIDE, SIDE, 90.0 * turns, out);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int to_x = x, to_y = y;
                for (int t = 0; t < (turns + 4) % 4; t++) {
                    int old_x = to_x;
                    to_x = to_y;
                    to_y = SIDE - 1 - old_x;
                }
                assert_int_equal(out[to_y * SIDE + to_x], in[y * SIDE + x]);
            }
    }
    /* Height 4, width 6, a quarter turn by the filter: source x = 4.5 - y, source y = x - 0.5, in whole
     * pixels. */
    rotate(in, 4, 6, 90, out);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++) {
            int from_x = 4 - y, from_y = x - 1;
            int inside = from_x >= 0 && from_x < 6 && from_y >= 0 && from_y < 4;
            assert_int_equal(out[y * 6 + x], inside ? in[from_y * 6 + from_x] : 0);
        }
}

static void flat_images_stay_flat(void **state) {
    (void)state;
    uint8_t in[PIXELS], out[PIXELS];
    memset(in, 201, sizeof in);
    for (int degrees = -180; degrees <= 180; degrees += 7) {
        rotate(in, SIDE, SIDE, degrees, out);
        for (int i = 0; i < PIXELS; i++) {
            double dx = i % SIDE + 0.5 - SIDE / 2.0, dy = i / SIDE + 0.5 - SIDE / 2.0;
            assert_true(out[i] == 201 || (out[i] == 0 && sqrt(dx * dx + dy * dy) >= SIDE / 2.0));
        }
    }
    memset(in, 0, sizeof in);
    rotate(in, SIDE, SIDE, 33, out);
    assert_memory_equal(in, out, sizeof in);
}

static void factors(void **state) {
    (void)state;
    uint8_t in[PIXELS], out[PIXELS];
    fill(in, PIXELS, 2);
    unsigned sum = 0;
    for (int i = 0; i < PIXELS; i++) sum += in[i];
    int mean = (int)(sum / (double)PIXELS + 0.5);
    for (int f = 0; f <= 2; f++) { /* whole factors: exact */
        memcpy(out, in, sizeof out);
        kernels->brightness(out, PIXELS, f);
        for (int i = 0; i < PIXELS; i++) assert_int_equal(out[i], f * in[i] > 255 ? 255 : f * in[i]);
        memcpy(out, in, sizeof out);
        kernels->contrast(out, PIXELS, f);
        for (int i = 0; i < PIXELS; i++) {
            int expected = mean + f * (in[i] - mean);
            assert_int_equal(out[i], expected < 0 ? 0 : expected > 255 ? 255 : expected);
        }
    }
    kernels->contrast(out, 0, 1.1);
    kernels->brightness(out, 0, 1.1);
}

/* The operations put together by hand from the words of the stream. */
static void draws_are_the_streams_words(void **state) {
    (void)state;
    uint8_t in[PIXELS], out[PIXELS], expected[PIXELS];
    void *scratch = malloc(kernels->scratch_bytes(SIDE, SIDE));
    assert_non_null(scratch);
    fill(in, PIXELS, 3);
    for (uint32_t sample = 0; sample < 500; sample++) {
        uint64_t seed = UINT64_C(0x100000000) * sample + 17;
        ls_rng rng = ls_rng_stream(seed, LS_RNG_AUGMENT, 0, 4, sample);
        uint32_t w[8];
        ls_rng_block(&rng, 0, w);
        ls_rng_block(&rng, 1, w + 4);
        memcpy(expected, in, sizeof in);
        if (ls_rng_unit(w[0]) < 0.5) {
            kernels->rotate(in, SIDE, SIDE, (2 * ls_rng_unit(w[1]) - 1) * 45, expected, scratch);
            kernels->brightness(expected, PIXELS, 1 + (2 * ls_rng_unit(w[2]) - 1) * 0.2);
            if (ls_rng_unit(w[3]) < 0.8)
                kernels->contrast(expected, PIXELS, 1 + (2 * ls_rng_unit(w[4]) - 1) * 0.2);
        }
        kernels->augment(&published, seed, 4, sample, in, SIDE, SIDE, out, scratch);
        assert_memory_equal(out, expected, sizeof out);
    }
    free(scratch);
}

static void order_does_not_matter(void **state) {
    (void)state;
    enum { SAMPLES = 64 };
    static uint8_t in[SAMPLES][PIXELS], forward[SAMPLES][PIXELS], backward[SAMPLES][PIXELS];
    size_t size = kernels->scratch_bytes(SIDE, SIDE);
    void *scratch = malloc(size);
    assert_non_null(scratch);
    for (uint32_t i = 0; i < SAMPLES; i++) fill(in[i], PIXELS, 10 + i);
    for (uint32_t i = 0; i < SAMPLES; i++)
        kernels->augment(&published, 5, 2, i, in[i], SIDE, SIDE, forward[i], scratch);
    for (uint32_t i = SAMPLES; i-- > 0;) {
        memset(scratch, (int)i, size);
        kernels->augment(&published, 5, 2, i, in[i], SIDE, SIDE, backward[i], scratch);
    }
    free(scratch);
    assert_memory_equal(forward, backward, sizeof forward);
}

/* Whether `count` of `n` trials is within five standard deviations of probability p. */
static int plausible(double count, double n, double p) {
    return fabs(count - n * p) <= 5 * sqrt(n * p * (1 - p));
}

static void statistics_of_the_draws(void **state) {
    (void)state;
    enum { N = 100000, BINS = 8 };
    void *scratch = malloc(kernels->scratch_bytes(33, 33));
    assert_non_null(scratch);

    /* Brightness: 200 becomes 200 f cut off; f of [1, 1.005) leaves it as it is. Contrast: 0, 200 about 100.
     */
    ls_augmentation bright = published, contrast = published, turned = published;
    bright.rotation = 0, bright.contrast_probability = 0;
    contrast.rotation = 0, contrast.brightness = 0;
    turned.probability = 1, turned.brightness = 0, turned.contrast_probability = 0;
    int unchanged = 0, contrast_unchanged = 0, bins[BINS] = {0}, contrast_bins[BINS] = {0};
    for (uint32_t i = 0; i < N; i++) {
        uint8_t in[2] = {200, 200}, out[2];
        kernels->augment(&bright, 9, 1, i, in, 1, 2, out, scratch);
        assert_in_range(out[0], 160, 239);
        unchanged += out[0] == 200;
        if (out[0] != 200) bins[(out[0] - 160) / 10]++;
        in[0] = 0;
        kernels->augment(&contrast, 9, 1, i, in, 1, 2, out, scratch);
        assert_in_range(out[1], 180, 219);
        assert_in_range(out[0], 0, 20);
        contrast_unchanged += out[1] == 200;
        if (out[1] != 200) contrast_bins[(out[1] - 180) / 5]++;
    }
    assert_true(plausible(unchanged, N, 0.5 + 0.5 * 0.005 / 0.4));
    assert_true(plausible(contrast_unchanged, N, 0.6 + 0.4 * 0.01 / 0.4));
    for (int b = 0; b < BINS; b++) {
        assert_true(plausible(bins[b], N, 0.5 * (b == 4 ? 9 : 10) / 80));
        assert_true(plausible(contrast_bins[b], N, 0.4 * (b == 4 ? 4 : 5) / 40));
    }

    /* Angles: a spot to the right of the middle; where its centre of mass goes. */
    static uint8_t in[33 * 33], out[33 * 33];
    for (int y = 14; y <= 18; y++)
        for (int x = 25; x <= 29; x++) in[y * 33 + x] = 200;
    enum { TURNS = 10000 };
    int angle_bins[BINS] = {0};
    double least = 90, most = -90;
    for (uint32_t i = 0; i < TURNS; i++) {
        kernels->augment(&turned, 9, 1, i, in, 33, 33, out, scratch);
        double mass = 0, mx = 0, my = 0;
        for (int j = 0; j < 33 * 33; j++) {
            mass += out[j];
            mx += out[j] * (double)(j % 33 - 16);
            my += out[j] * (double)(j / 33 - 16);
        }
        assert_true(mass > 0);
        double degrees = atan2(-my, mx) * 180 / 3.141592653589793; /* counter-clockwise, y downwards */
        least = fmin(least, degrees);
        most = fmax(most, degrees);
        int bin = (int)((degrees + 45) / (90.0 / BINS));
        angle_bins[bin < 0 ? 0 : bin < BINS ? bin : BINS - 1]++;
    }
    free(scratch);
    assert_true(least > -45.3 && least < -44.5 && most < 45.3 && most > 44.5);
    for (int b = 0; b < BINS;
         b++) /* the spot's centre is off by some hundredths of a degree: 1 % more room */
        assert_true(fabs(angle_bins[b] - (double)TURNS / BINS) <=
                    0.01 * TURNS / BINS + 5 * sqrt(TURNS * 7.0 / 64));
}

static void never_and_always(void **state) {
    (void)state;
    uint8_t in[PIXELS], out[PIXELS];
    void *scratch = malloc(kernels->scratch_bytes(SIDE, SIDE));
    assert_non_null(scratch);
    fill(in, PIXELS, 4);
    ls_augmentation how = published;
    for (uint32_t i = 0; i < 200; i++) {
        how.probability = 0;
        kernels->augment(&how, 1, 0, i, in, SIDE, SIDE, out, scratch);
        assert_memory_equal(in, out, sizeof in);
        how.probability = 1;
        kernels->augment(&how, 1, 0, i, in, SIDE, SIDE, out, scratch);
        assert_memory_not_equal(in, out, sizeof in);
    }
    free(scratch);
}

static void bytes_are_pinned(void **state) {
    (void)state;
    static uint8_t in[PIXELS], out[400][PIXELS];
    void *scratch = malloc(kernels->scratch_bytes(SIDE, SIDE));
    assert_non_null(scratch);
    fill(in, PIXELS, 5);
    for (uint32_t i = 0; i < 400; i++) kernels->augment(&published, 2, 3, i, in, SIDE, SIDE, out[i], scratch);
    free(scratch);
    uint64_t hash = XXH3_64bits(out, sizeof out);
    if (hash != UINT64_C(0x2d0bdb0aad984907)) print_message("hash 0x%016llx\n", (unsigned long long)hash);
    assert_true(hash == UINT64_C(0x2d0bdb0aad984907));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases_are_pillows),
        cmocka_unit_test(quarter_turns_move_pixels),
        cmocka_unit_test(flat_images_stay_flat),
        cmocka_unit_test(factors),
        cmocka_unit_test(draws_are_the_streams_words),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(statistics_of_the_draws),
        cmocka_unit_test(never_and_always),
        cmocka_unit_test(bytes_are_pinned),
    };
    int failed = 0;
    for (int set = LS_PORTABLE; set <= (int)ls_instruction_set_supported(); set++) {
        const ls_backend *backend;
        if (ls_backend_find_for(LS_PRECISION_FP32, (ls_instruction_set)set, &backend) != LS_OK) return 1;
        kernels = LS_KERNELS_OF(backend, ls_augment);
        failed +=
            cmocka_run_group_tests_name(ls_instruction_set_name((ls_instruction_set)set), tests, NULL, NULL);
    }
    return failed;
}
