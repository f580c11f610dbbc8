/* Whole data sets: the one that make_idx makes (LOCKSTEP_MADE_DATA) and MNIST (LOCKSTEP_DATA); skipped where
 * unset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "io/reader.h"

static void read_both(const char *from, ls_dataset *train, ls_dataset *test) {
    ls_reader *reader;
    if (ls_reader_open(from, &reader) != LS_OK) fail_msg("%s", ls_error_message());
    if (ls_reader_read_all(reader, train, test) != LS_OK) fail_msg("%s", ls_error_message());
    ls_reader_close(&reader);
}

/* Which of the classes' mean training images is nearest to this image? */
static int nearest(const double *means, int classes, const uint8_t *image, int pixels) {
    int best = 0;
    double least = 0.0;
    for (int k = 0; k < classes; k++) {
        double distance = 0.0;
        for (int i = 0; i < pixels; i++) {
            double d = means[k * pixels + i] - (double)image[i];
            distance += d * d;
        }
        if (k == 0 || distance < least) {
            least = distance;
            best = k;
        }
    }
    return best;
}

/* make_idx's set can be learnt: the simplest of classifiers gets more than 9 of 10 right. */
static void test_made_set_can_be_learnt(void **state) {
    (void)state;
    const char *from = getenv("LOCKSTEP_MADE_DATA");
    if (!from) skip();
    ls_dataset train, test;
    read_both(from, &train, &test);
    int pixels = train.height * train.width, right = 0;
    double *means = calloc((size_t)train.classes * (size_t)pixels, sizeof *means), counts[256] = {0};
    assert_non_null(means);
    for (int64_t n = 0; n < train.count; n++) counts[train.labels[n]] += 1.0;
    for (int64_t n = 0; n < train.count; n++)
        for (int i = 0; i < pixels; i++)
            means[train.labels[n] * pixels + i] +=
                (double)train.images[n * pixels + i] / counts[train.labels[n]];
    for (int64_t n = 0; n < test.count; n++)
        right += nearest(means, train.classes, test.images + n * pixels, pixels) == test.labels[n];
    print_message("nearest class mean: %d of %d right\n", right, (int)test.count);
    assert_true((int64_t)right * 10 > test.count * 9);
    free(means);
    ls_dataset_destroy(&train);
    ls_dataset_destroy(&test);
}

static void test_mnist(void **state) {
    (void)state;
    const char *from = getenv("LOCKSTEP_DATA");
    if (!from) skip();
    ls_dataset train, test;
    read_both(from, &train, &test);
    assert_int_equal(train.count, 60000);
    assert_int_equal(test.count, 10000);
    assert_int_equal(train.height, 28);
    assert_int_equal(train.width, 28);
    assert_int_equal(train.classes, 10);
    assert_memory_equal(train.labels, ((const uint8_t[]){5, 0, 4, 1, 9}), 5);
    assert_memory_equal(test.labels, ((const uint8_t[]){7, 2, 1, 0, 4}), 5);
    assert_int_equal(crc32(0, train.images, 60000 * 28 * 28), 0xf3639b56);
    assert_int_equal(crc32(0, train.labels, 60000), 0xba07e8ef);
    assert_int_equal(crc32(0, test.images, 10000 * 28 * 28), 0xe4ca5f57);
    assert_int_equal(crc32(0, test.labels, 10000), 0xee8604d9);
    ls_dataset_destroy(&train);
    ls_dataset_destroy(&test);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_made_set_can_be_learnt),
                                       cmocka_unit_test(test_mnist)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
