/* The IDX reader: good files are read to the byte, damaged ones are refused with LS_BAD_DATA and a message
 * that names the file. A case writes its files into a scratch folder, reads them, and removes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "io/idx_files.h"

/* ---- good files ---- */

static void test_reads_good_files(void **state) {
    (void)state;
    static const struct {
        uint32_t count, height, width, classes;
    } cases[] = {{1, 1, 1, 1},       {3, 2, 5, 3},    {256, 1, 1, 256}, {1024, 3, 2, 256},
                 {20, 28, 28, 10},   {7, 33, 1, 7},   {2, 1, 300, 1},   {5, 17, 31, 2},
                 {100, 64, 48, 100}, {1, 1000, 1, 1}, {40000, 1, 2, 40}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int how = 0; how < 8;
             how++) { /* each file plain or gzip, without and with a name in gzip's header */
            buffer images = make_images(cases[i].count, cases[i].height, cases[i].width);
            buffer labels = make_labels(cases[i].count, cases[i].classes);
            write_as(IMAGES, how & 1, images, how & 4);
            write_as(LABELS, how & 2, labels, how & 4);
            ls_dataset set;
            if (read_part(folder, LS_DATA_TRAIN, &set) != LS_OK)
                fail_msg("case %zu: %s", i, ls_error_message());
            assert_int_equal(set.count, cases[i].count);
            assert_int_equal(set.height, cases[i].height);
            assert_int_equal(set.width, cases[i].width);
            assert_int_equal(set.classes, cases[i].classes);
            assert_memory_equal(set.images, images.bytes + 16, images.size - 16);
            assert_memory_equal(set.labels, labels.bytes + 8, labels.size - 8);
            ls_dataset_destroy(&set);
            ls_dataset_destroy(&set);
            free(images.bytes);
            free(labels.bytes);
            remove_files();
        }
}

/* The plain file wins over the .gz beside it, also where only the .gz is good: no guessing which was meant.
 */
static void test_prefers_plain(void **state) {
    (void)state;
    ls_dataset set;
    write_small(IMAGES, false);
    write_small(LABELS, false);
    write_file(IMAGES, true, (const uint8_t *)"damaged", 7);
    assert_int_equal(read_part(folder, LS_DATA_TRAIN, &set), LS_OK);
    ls_dataset_destroy(&set);
    write_file(IMAGES, false, (const uint8_t *)"damaged", 7);
    write_small(IMAGES, true);
    assert_refused(IMAGES, "damaged plain file beside a good .gz", "wrong magic");
    remove_files();
}

/* ---- damaged files ---- */

typedef enum operation {
    SET,         /* contents: byte [at] = value */
    CUT,         /* contents: the first `at` bytes */
    GROW,        /* contents: `at` more bytes of value */
    PACKED_SET,  /* gzip file: byte [at] = value; at < 0 counts from the end */
    PACKED_FLIP, /* gzip file: byte [at] ^= value, at as above */
    PACKED_CUT,  /* gzip file: without its last `at` bytes */
    PACKED_GROW, /* gzip file: `at` more bytes of value */
    TWICE,       /* gzip file: a second member behind the first */
    PACK,        /* .gz name, compressed with window bits `at`; 0: not compressed */
    RENAME,      /* gzip file under the plain name */
    MISSING,     /* no file at all */
    DIRECTORY,   /* in place of the file */
    FIFO,        /* in place of the file */
    LINK,        /* in place of the file, a link to /dev/zero */
    LOOP,        /* in place of the file, a link to itself */
} operation;

typedef struct damage {
    const char *name;
    int file;
    bool gz;
    operation op;
    int at, value;
    const char *expected;
} damage;

static const damage DAMAGES[] = {
    {"first byte of the magic", IMAGES, false, SET, 0, 1, "wrong magic: found 01 00, expected 00 00"},
    {"second byte of the magic", LABELS, false, SET, 1, 0xff, "wrong magic: found 00 ff, expected 00 00"},
    {"magic inside gzip", IMAGES, true, SET, 0, 0x80, "wrong magic: found 80 00"},
    {"signed bytes", IMAGES, false, SET, 2, 0x09, "wrong type of values: found 09, expected 08"},
    {"floats", IMAGES, true, SET, 2, 0x0d, "wrong type of values: found 0d, expected 08"},
    {"type 0", LABELS, false, SET, 2, 0, "wrong type of values: found 00, expected 08"},
    {"labels as images", IMAGES, false, SET, 3, 1, "wrong number of dimensions: found 1, expected 3"},
    {"images as labels", LABELS, false, SET, 3, 3, "wrong number of dimensions: found 3, expected 1"},
    {"4 dimensions", IMAGES, true, SET, 3, 4, "wrong number of dimensions: found 4, expected 3"},
    {"0 dimensions", LABELS, true, SET, 3, 0, "wrong number of dimensions: found 0, expected 1"},
    {"0 images", IMAGES, false, SET, 7, 0, "found a size of 0 in dimension 1"},
    {"height 0", IMAGES, false, SET, 11, 0, "found a size of 0 in dimension 2"},
    {"width 0", IMAGES, true, SET, 15, 0, "found a size of 0 in dimension 3"},
    {"0 labels", LABELS, false, SET, 7, 0, "found a size of 0 in dimension 1"},
    {"one image more promised", IMAGES, false, SET, 7, 4, "wrong length: found 46 bytes, expected 56"},
    {"one image fewer promised", IMAGES, false, SET, 7, 2, "wrong length: found 46 bytes, expected 36"},
    {"one image more promised, gzip", IMAGES, true, SET, 7, 4, "wrong length: found 46 bytes, expected 56"},
    {"one image fewer promised, gzip", IMAGES, true, SET, 7, 2, "wrong length: found more, expected 36"},
    {"a height of 2^25 + 2", IMAGES, false, SET, 8, 2, "expected 503316526 by its header"},
    {"many images promised", IMAGES, false, SET, 4, 0x10, "expected 2684354606 by its header"},
    {"many images promised, gzip", IMAGES, true, SET, 4, 0x10, "cannot hold the expected 2684354606 bytes"},
    {"more than 8 GiB", IMAGES, false, SET, 4, 0x80, "too large: found 2147483651 images of 2 x 5, expected"},
    {"more than 8 GiB, gzip", IMAGES, true, SET, 4, 0x80, "at most 8589934592 bytes"},
    {"height beyond an int", IMAGES, false, SET, 8, 0x80, "too large: found 3 images of 2147483650 x 5"},
    {"width beyond an int", IMAGES, true, SET, 12, 0xff, "too large: found 3 images of 2 x 4278190085"},
    {"one label more", LABELS, false, SET, 7, 4, "wrong count of labels: found 4, expected 3, one an image"},
    {"one label fewer, gzip", LABELS, true, SET, 7, 2, "wrong count of labels: found 2, expected 3"},
    {"4 billion labels", LABELS, true, SET, 4, 0xff, "wrong count of labels: found 4278190083, expected 3"},
    {"empty", IMAGES, false, CUT, 0, 0, "incomplete header: found 0 bytes, expected 16"},
    {"nothing but the magic", IMAGES, false, CUT, 4, 0, "incomplete header: found 4 bytes, expected 16"},
    {"empty contents, gzip", LABELS, true, CUT, 0, 0, "incomplete header: found 0 bytes, expected 8"},
    {"half a header, gzip", IMAGES, true, CUT, 9, 0, "incomplete header: found 9 bytes, expected 16"},
    {"no values", LABELS, false, CUT, 8, 0, "wrong length: found 8 bytes, expected 11"},
    {"last byte lost, gzip", IMAGES, true, CUT, 45, 0, "wrong length: found 45 bytes, expected 46"},
    {"one byte more", IMAGES, false, GROW, 1, 0, "wrong length: found 47 bytes, expected 46"},
    {"one byte more, gzip", LABELS, true, GROW, 1, 0, "wrong length: found more, expected 11"},
    {"not gzip", IMAGES, true, PACK, 0, 0, "not compressed: found a plain IDX file, expected gzip's 1f 8b"},
    {"not gzip, labels", LABELS, true, PACK, 0, 0, "rename it without .gz"},
    {"zlib, not gzip", IMAGES, true, PACK, ZLIB, 0, "not gzip: found 78 da, expected 1f 8b"},
    {"deflate without a header", LABELS, true, PACK, RAW_DEFLATE, 0, "not gzip: found 63 60"},
    {"gzip under the plain name", IMAGES, true, RENAME, 0, 0, "found gzip's 1f 8b"},
    {"gzip's method", IMAGES, true, PACKED_SET, 2, 7, "damaged gzip: found \"unknown compression method\""},
    {"gzip's reserved flags", IMAGES, true, PACKED_SET, 3, 0xe0,
     "damaged gzip: found \"unknown header flags set\""},
    {"deflate's block type", LABELS, true, PACKED_SET, 10, 0x07,
     "damaged gzip: found \"invalid block type\""},
    {"CRC", IMAGES, true, PACKED_FLIP, -8, 0x01, "damaged gzip: found \"incorrect data check\""},
    {"CRC, last bit", LABELS, true, PACKED_FLIP, -5, 0x80, "damaged gzip: found \"incorrect data check\""},
    {"length", IMAGES, true, PACKED_FLIP, -4, 0x01, "damaged gzip: found \"incorrect length check\""},
    {"length, last bit", LABELS, true, PACKED_FLIP, -1, 0x80,
     "damaged gzip: found \"incorrect length check\""},
    {"no trailer", IMAGES, true, PACKED_CUT, 8, 0, "truncated gzip: found the end of the file after"},
    {"no length in the trailer", LABELS, true, PACKED_CUT, 4, 0, "truncated gzip: found"},
    {"a zero behind the trailer", IMAGES, true, PACKED_GROW, 1, 0, "bytes behind the gzip member: found"},
    {"text behind the trailer", LABELS, true, PACKED_GROW, 100, 'x', "bytes behind the gzip member: found"},
    {"much behind the trailer", IMAGES, true, PACKED_GROW, 200000, 0, "bytes behind the gzip member: found"},
    {"two members", IMAGES, true, TWICE, 0, 0, "bytes behind the gzip member: found"},
    {"no images", IMAGES, false, MISSING, 0, 0,
     "missing: found neither it nor train-images.idx3-ubyte, expected one, plain or .gz"},
    {"no labels", LABELS, true, MISSING, 0, 0, "missing: found neither it nor train-labels.idx1-ubyte"},
    {"a directory", IMAGES, false, DIRECTORY, 0, 0, "found a directory, expected a regular file"},
    {"a directory, .gz", LABELS, true, DIRECTORY, 0, 0, "found a directory, expected a regular file"},
    {"a FIFO", IMAGES, false, FIFO, 0, 0, "found a FIFO, expected a regular file"},
    {"a FIFO, .gz", LABELS, true, FIFO, 0, 0, "found a FIFO, expected a regular file"},
    {"a device", IMAGES, false, LINK, 0, 0, "found a device, expected a regular file"},
    {"a link to itself", LABELS, false, LOOP, 0, 0, "cannot be opened: found \""},
};

static buffer grown(buffer b, size_t more, int value) {
    b.bytes = realloc(b.bytes, b.size + more);
    assert_non_null(b.bytes);
    memset(b.bytes + b.size, value, more);
    b.size += more;
    return b;
}

static void damage_contents(const damage *d, buffer *b) {
    if (d->op == SET) b->bytes[d->at] = (uint8_t)d->value;
    if (d->op == CUT) b->size = (size_t)d->at;
    if (d->op == GROW) *b = grown(*b, (size_t)d->at, d->value);
}

static void damage_packed(const damage *d, buffer *b) {
    size_t at = d->at < 0 ? b->size - (size_t)-d->at : (size_t)d->at;
    if (d->op == PACKED_SET) b->bytes[at] = (uint8_t)d->value;
    if (d->op == PACKED_FLIP) b->bytes[at] ^= (uint8_t)d->value;
    if (d->op == PACKED_CUT) b->size -= at;
    if (d->op == PACKED_GROW) *b = grown(*b, at, d->value);
    if (d->op == TWICE) {
        size_t once = b->size;
        *b = grown(*b, once, 0);
        memcpy(b->bytes + once, b->bytes, once);
    }
}

static void write_damaged(const damage *d) {
    const char *path = path_of(d->file, d->gz);
    buffer b = small_contents(d->file);
    switch (d->op) {
    case MISSING: break;
    case DIRECTORY: assert_int_equal(mkdir(path, 0700), 0); break;
    case FIFO: assert_int_equal(mkfifo(path, 0600), 0); break;
    case LINK: assert_int_equal(symlink("/dev/zero", path), 0); break;
    case LOOP: assert_int_equal(symlink(path, path), 0); break;
    default:
        damage_contents(d, &b);
        if (d->gz && !(d->op == PACK && d->at == 0)) {
            buffer packed = compress_as(b, d->op == PACK ? d->at : GZIP, false);
            free(b.bytes);
            b = packed;
            damage_packed(d, &b);
        }
        write_file(d->file, d->gz && d->op != RENAME, b.bytes, b.size);
    }
    free(b.bytes);
}

static void test_refuses_damaged_files(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof DAMAGES / sizeof *DAMAGES; i++) {
        write_damaged(&DAMAGES[i]);
        write_small(!DAMAGES[i].file, i % 2);
        assert_refused(DAMAGES[i].file, DAMAGES[i].name, DAMAGES[i].expected);
        remove_files();
    }
}

static void test_refuses_missing_folder(void **state) {
    (void)state;
    ls_dataset set;
    assert_int_equal(read_part("/nonexistent/folder", LS_DATA_TRAIN, &set), LS_BAD_DATA);
    assert_string_equal(ls_error_message(), "/nonexistent/folder: no data set is found there; IDX: No such "
                                            "file or directory");
    assert_int_equal(read_part("/dev/null", LS_DATA_TRAIN, &set), LS_BAD_DATA);
    assert_non_null(
        strstr(ls_error_message(), "/dev/null: no data set is found there; IDX: found no folder"));
    assert_zeroed(&set);
}

/* A file without read permission; root reads it all the same. */
static void test_refuses_unreadable(void **state) {
    (void)state;
    if (geteuid() == 0) skip();
    write_small(IMAGES, false);
    write_small(LABELS, false);
    assert_int_equal(chmod(path_of(IMAGES, false), 0), 0);
    assert_refused(IMAGES, "no permission", "cannot be opened: found \"Permission denied\"");
    remove_files();
}

/* ---- every truncation, every bit ---- */

static void test_refuses_every_truncation(void **state) {
    (void)state;
    for (int file = IMAGES; file <= LABELS; file++)
        for (int gz = 0; gz <= 1; gz++) {
            buffer b = small_contents(file), packed = compress_as(b, GZIP, true);
            const buffer *whole = gz ? &packed : &b;
            write_small(!file, !gz);
            for (size_t size = 0; size < whole->size; size++) {
                write_file(file, gz, whole->bytes, size);
                assert_refused(file, "truncated", gz ? "truncated gzip" : size < 16 ? "" : "wrong length");
            }
            free(b.bytes);
            free(packed.bytes);
            remove_files();
        }
}

/* A flipped bit of a plain header always breaks a rule; the values carry no redundancy. */
static void test_refuses_every_header_bit(void **state) {
    (void)state;
    for (int file = IMAGES; file <= LABELS; file++) {
        buffer b = small_contents(file);
        write_small(!file, true);
        for (size_t bit = 0; bit < (file == IMAGES ? 16 : 8) * 8; bit++) {
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            write_file(file, false, b.bytes, b.size);
            assert_refused(file, "flipped header bit", "");
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(b.bytes);
        remove_files();
    }
}

/* A flipped bit of a gzip file is refused, or it was one that says nothing of the data (text flag, time,
 * system). */
static void test_every_gzip_bit(void **state) {
    (void)state;
    size_t harmless = 0;
    buffer contents[] = {small_contents(IMAGES), small_contents(LABELS)};
    for (int file = IMAGES; file <= LABELS; file++) {
        buffer b = compress_as(contents[file], GZIP, false);
        write_small(!file, false);
        for (size_t bit = 0; bit < b.size * 8; bit++) {
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            write_file(file, true, b.bytes, b.size);
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            ls_dataset set;
            if (read_part(folder, LS_DATA_TRAIN, &set) != LS_OK) {
                assert_refused(file, "flipped gzip bit", "");
                continue;
            }
            harmless++;
            if (bit / 8 != b.size - 9) assert_in_range(bit / 8, 3, 9);
            assert_int_equal(set.count, 3);
            assert_int_equal(set.height, 2);
            assert_int_equal(set.width, 5);
            assert_memory_equal(set.images, contents[IMAGES].bytes + 16, 30);
            assert_memory_equal(set.labels, contents[LABELS].bytes + 8, 3);
            ls_dataset_destroy(&set);
        }
        free(b.bytes);
        remove_files();
    }
    print_message("%zu flipped bits say nothing of the data\n", harmless);
    free(contents[IMAGES].bytes);
    free(contents[LABELS].bytes);
}

/* A gzip file brought to `size` bytes by an extra field in its header, which says nothing of the data. */
static buffer padded(buffer packed, size_t size) {
    buffer b = make_buffer(size);
    size_t extra = size - packed.size - 2;
    memcpy(b.bytes, packed.bytes, 10);
    b.bytes[3] |= 4;
    b.bytes[10] = (uint8_t)extra;
    b.bytes[11] = (uint8_t)(extra >> 8);
    memcpy(b.bytes + 12 + extra, packed.bytes + 10, packed.size - 10);
    return b;
}

/* The reader takes 32 KiB at a time: a byte behind the trailer is seen on either side of that border. */
static void test_trailer_at_the_border_of_the_input(void **state) {
    (void)state;
    buffer contents = small_contents(IMAGES), packed = compress_as(contents, GZIP, false);
    write_small(LABELS, true);
    for (size_t size = 32768 - 10; size <= 32768 + 10; size++) {
        buffer b = padded(packed, size);
        write_file(IMAGES, true, b.bytes, b.size);
        ls_dataset set;
        if (read_part(folder, LS_DATA_TRAIN, &set) != LS_OK)
            fail_msg("%zu bytes: %s", size, ls_error_message());
        assert_memory_equal(set.images, contents.bytes + 16, 30);
        ls_dataset_destroy(&set);
        write_file(IMAGES, true, b.bytes, b.size + 1); /* make_buffer leaves a zero behind its bytes */
        assert_refused(IMAGES, "a byte behind the border", "bytes behind the gzip member");
        free(b.bytes);
    }
    free(contents.bytes);
    free(packed.bytes);
    remove_files();
}

/* ---- memory ---- */

static long peak_kib(void) {
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* 64 MiB of zeros behind a header that promises 30 bytes: the reader stops at the 31st. */
static void test_bomb_stops_at_the_header(void **state) {
    (void)state;
    static const uint8_t zeros[1 << 16];
    buffer b = small_contents(IMAGES);
    gzFile out = gzopen(path_of(IMAGES, true), "wb1");
    assert_non_null(out);
    assert_int_equal(gzfwrite(b.bytes, 1, 16, out), 16);
    for (int i = 0; i < 1024; i++) assert_int_equal(gzfwrite(zeros, 1, sizeof zeros, out), sizeof zeros);
    assert_int_equal(gzclose(out), Z_OK);
    write_small(LABELS, false);
    long before = peak_kib();
    assert_refused(IMAGES, "bomb", "wrong length: found more, expected 46 bytes");
    assert_in_range(peak_kib() - before, 0, 4096);
    free(b.bytes);
    remove_files();
}

/* 7 GiB promised by 60 bytes, and by 60 bytes of gzip: refused before they are allocated. */
static void test_small_file_with_a_large_promise(void **state) {
    (void)state;
    buffer b = small_contents(IMAGES);
    put_word(b.bytes + 4, 7 << 10);
    put_word(b.bytes + 8, 1 << 10);
    put_word(b.bytes + 12, 1 << 10);
    write_small(LABELS, false);
    for (int gz = 1; gz >= 0; gz--) {
        write_as(IMAGES, gz, b, false);
        long before = peak_kib();
        assert_refused(IMAGES, "large promise",
                       gz ? "cannot hold the expected 7516192784" : "expected 7516192784");
        assert_in_range(peak_kib() - before, 0, 4096);
    }
    free(b.bytes);
    remove_files();
}

/* A size beyond an int is refused as such, also where the images would take less than 8 GiB. */
static void test_size_beyond_an_int(void **state) {
    (void)state;
    buffer b = small_contents(IMAGES);
    put_word(b.bytes + 4, 1);
    write_small(LABELS, false);
    for (int gz = 0; gz <= 1; gz++) {
        put_word(b.bytes + 8, gz ? 1 : 0x80000000u);
        put_word(b.bytes + 12, gz ? 0x80000000u : 1);
        write_as(IMAGES, gz, b, false);
        assert_refused(IMAGES, "2^31",
                       gz ? "found 1 images of 1 x 2147483648" : "found 1 images of 2147483648 x 1");
        remove_files();
        write_small(LABELS, false);
    }
    free(b.bytes);
    remove_files();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_good_files),
        cmocka_unit_test(test_prefers_plain),
        cmocka_unit_test(test_refuses_damaged_files),
        cmocka_unit_test(test_refuses_missing_folder),
        cmocka_unit_test(test_refuses_unreadable),
        cmocka_unit_test(test_refuses_every_truncation),
        cmocka_unit_test(test_refuses_every_header_bit),
        cmocka_unit_test(test_every_gzip_bit),
        cmocka_unit_test(test_trailer_at_the_border_of_the_input),
        cmocka_unit_test(test_size_beyond_an_int),
        cmocka_unit_test(test_bomb_stops_at_the_header),
        cmocka_unit_test(test_small_file_with_a_large_promise),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
