/* What holds of all formats of data, the names and folders of IDX files, and a format that is added: its
 * reader, digits_reader.c, is the example that CONTRIBUTING names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dist/comm.h"
#include "io/digits_reader.h"
#include "io/reader.h"
#include "train/data.h"

static char folder[] = "/tmp/lockstep_readers_XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void make(const char *name) {
    assert_int_equal(mkdir(in_folder(name), 0700), 0);
}

static void put(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Two images of 1 x 2, whose first byte tells sets apart, and labels 0 and 1. */
static void put_images(const char *name, uint8_t mark) {
    const uint8_t file[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, mark, 1, 2, 3};
    put(name, file, sizeof file);
}

static void put_labels(const char *name, uint8_t last) {
    const uint8_t file[] = {0, 0, 8, 1, 0, 0, 0, 2, 0, last};
    put(name, file, sizeof file);
}

static void put_set(const char *where, char separator, uint8_t mark) {
    char name[4][128];
    static const char *const stems[] = {"train-images", "train-labels", "t10k-images", "t10k-labels"};
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof name[i], "%s/%s%cidx%d-ubyte", where, stems[i], separator, i % 2 ? 1 : 3);
        if (i % 2)
            put_labels(name[i], 1);
        else
            put_images(name[i], mark);
    }
}

/* Reads the set at that place; returns the first byte of its first image. */
static int mark_of(const char *where, const char *found_in) {
    ls_reader *reader;
    ls_dataset train, test, sizes;
    if (ls_reader_open(in_folder(where), &reader) != LS_OK) fail_msg("%s", ls_error_message());
    assert_string_equal(reader->path, in_folder(found_in));
    if (ls_reader_sizes(reader, LS_DATA_TRAIN, &sizes) != LS_OK) fail_msg("%s", ls_error_message());
    assert_true(sizes.count == 2 && sizes.height == 1 && sizes.width == 2 && sizes.classes == 2);
    assert_null(sizes.images);
    assert_null(sizes.labels);
    if (ls_reader_read_all(reader, &train, &test) != LS_OK) fail_msg("%s", ls_error_message());
    int mark = train.images[0];
    assert_int_equal(test.images[0], mark);
    assert_int_equal(train.labels[1], 1);
    ls_dataset_destroy(&train);
    ls_dataset_destroy(&test);
    ls_reader_close(&reader);
    ls_reader_close(&reader);
    return mark;
}

static void assert_no_set(const char *where, const char *expected) {
    ls_reader *reader = NULL;
    ls_dataset train = {0}, test = {0};
    ls_status status = ls_reader_open(in_folder(where), &reader);
    if (status == LS_OK) status = ls_reader_read_all(reader, &train, &test);
    ls_reader_close(&reader);
    assert_int_equal(status, LS_BAD_DATA);
    assert_null(train.images);
    assert_null(test.images);
    if (strncmp(ls_error_message(), in_folder(where), strlen(in_folder(where))) != 0)
        fail_msg("no folder in \"%s\"", ls_error_message());
    if (!strstr(ls_error_message(), expected)) fail_msg("no \"%s\" in \"%s\"", expected, ls_error_message());
}

static void test_names_with_a_dot(void **state) {
    (void)state;
    make("dot");
    put_set("dot", '.', 9);
    assert_int_equal(mark_of("dot", "dot"), 9);
    put_images("dot/train-images-idx3-ubyte", 8); /* the published name comes first, for all that has it */
    put_images("dot/t10k-images-idx3-ubyte", 8);
    assert_int_equal(mark_of("dot", "dot"), 8);
}

/* Some archives unpack into a folder of the one name beside a file of the other. */
static void test_a_folder_of_that_name(void **state) {
    (void)state;
    make("beside");
    put_set("beside", '.', 7);
    make("beside/train-images-idx3-ubyte");
    make("beside/t10k-labels-idx1-ubyte");
    assert_int_equal(mark_of("beside", "beside"), 7);
}

/* root/MNIST/raw, as torchvision has it; data= may name the root, MNIST or raw. */
static void test_torchvision(void **state) {
    (void)state;
    make("root");
    make("root/MNIST");
    make("root/MNIST/raw");
    put_set("root/MNIST/raw", '-', 6);
    assert_int_equal(mark_of("root", "root/MNIST/raw"), 6);
    assert_int_equal(mark_of("root/MNIST", "root/MNIST/raw"), 6);
    assert_int_equal(mark_of("root/MNIST/raw", "root/MNIST/raw"), 6);
    make("root/FashionMNIST");
    make("root/FashionMNIST/raw");
    assert_int_equal(mark_of("root", "root/MNIST/raw"), 6); /* an empty one is none */
    put_set("root/FashionMNIST/raw", '-', 5);
    assert_no_set("root", "root/MNIST/raw and ");
    assert_no_set("root", "root/FashionMNIST/raw; expected data=FOLDER of one");
    assert_int_equal(mark_of("root/FashionMNIST", "root/FashionMNIST/raw"), 5);
}

static void test_nearest_miss(void **state) {
    (void)state;
    make("miss");
    assert_no_set("miss",
                  "expected train-images-idx3-ubyte and three more, with - or . before idx, plain or .gz");
    put("miss/notes.txt", "x", 1);
    assert_no_set("miss", ".gz");
    assert_null(strstr(ls_error_message(), "nearest"));
    put("miss/Train_Images_IDX3_ubyte", "x", 1);
    assert_no_set("miss", "the nearest name there is Train_Images_IDX3_ubyte");
    put("miss/train-images.idx3-ubyte.zip", "x", 1); /* 4 letters to insert against 2 to replace */
    assert_no_set("miss", "the nearest name there is Train_Images_IDX3_ubyte");
    put("miss/train-image.idx3-ubyte", "x", 1);
    assert_no_set("miss", "the nearest name there is train-image.idx3-ubyte");
    put_images("miss/train-images-idx3-ubyte", 1);
    put("miss/train-labels-idx1-ubyte\x1b", "x", 1);
    assert_no_set("miss", "train-labels-idx1-ubyte: missing: found neither it nor train-labels.idx1-ubyte, "
                          "expected one, plain or .gz; the nearest name there is train-labels-idx1-ubyte?");
    make("outer");
    make("outer/inner");
    put_set("outer/inner", '.', 1);
    assert_no_set("outer", "it is in the folder inner");
}

static void test_parts_belong_together(void **state) {
    (void)state;
    const uint8_t wide[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 1, 2, 3, 4, 5};
    make("pair");
    put_set("pair", '-', 1);
    put_labels("pair/t10k-labels-idx1-ubyte", 2);
    assert_no_set("pair",
                  "pair/t10k-labels-idx1-ubyte: wrong label: found 2 at test image 1, expected 0 to 1");
    put_labels("pair/t10k-labels-idx1-ubyte", 0);
    put("pair/t10k-images-idx3-ubyte", wide, sizeof wide);
    assert_no_set("pair",
                  "pair/t10k-images-idx3-ubyte: wrong size of test images: found 1 x 3, expected 1 x 2");
}

/* A line of 64 values, all `value` but the first, and the class. */
static void put_digits(const char *name, int value, int lines) {
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    for (int n = 0; n < lines; n++) {
        fprintf(file, "16,");
        for (int i = 1; i < 64; i++) fprintf(file, "%d,", value);
        fprintf(file, "%d\n", n % 3);
    }
    assert_int_equal(fclose(file), 0);
}

static void test_added_format(void **state) {
    (void)state;
    ls_comm *comm;
    ls_data data;
    make("digits");
    assert_int_equal(ls_reader_register(&digits_reader), LS_OK);
    assert_no_set("digits", "IDX: expected train-images-idx3-ubyte");
    assert_no_set("digits", "; digits: expected optdigits.tra and optdigits.tes");
    put_digits("digits/optdigits.tra", 8, 5);
    put_digits("digits/optdigits.tes", 4, 2);
    assert_int_equal(ls_comm_create_self(&comm), LS_OK);
    if (ls_data_load(comm, in_folder("digits"), 4, 1, &data) != LS_OK) fail_msg("%s", ls_error_message());
    assert_true(data.train.count == 5 && data.test.count == 2 && data.training == 4 && data.validation == 1);
    assert_true(data.train.height == 8 && data.train.width == 8 && data.train.classes == 3);
    assert_true(data.train.images[64] == 255 && data.train.images[65] == 127 && data.test.images[1] == 63);
    assert_memory_equal(data.train.labels, ((const uint8_t[]){0, 1, 2, 0, 1}), 5);
    ls_data_destroy(&data);
    ls_comm_destroy(&comm);
    put_digits("digits/optdigits.tes", 17, 2);
    assert_no_set("digits", "optdigits.tes: image 0: found 17, expected 0 to 16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_with_a_dot),      cmocka_unit_test(test_a_folder_of_that_name),
        cmocka_unit_test(test_torchvision),           cmocka_unit_test(test_nearest_miss),
        cmocka_unit_test(test_parts_belong_together), cmocka_unit_test(test_added_format),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
