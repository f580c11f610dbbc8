#include "io/idx_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/reader.h"

char folder[] = "/tmp/lockstep_idx_XXXXXX";
static const char *const FILES[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};

buffer make_buffer(size_t size) {
    buffer b = {calloc(1, size + 1), size};
    assert_non_null(b.bytes);
    return b;
}

const char *path_of(int file, bool gz) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s%s", folder, FILES[file], gz ? ".gz" : "");
    return path;
}

void write_file(int file, bool gz, const uint8_t *bytes, size_t size) {
    FILE *out = fopen(path_of(file, gz), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

void remove_files(void) {
    for (int file = IMAGES; file <= LABELS; file++)
        for (int gz = 0; gz <= 1; gz++) {
            const char *path = path_of(file, gz);
            if (unlink(path) != 0 && errno != ENOENT) assert_int_equal(rmdir(path), 0);
        }
}

buffer compress_as(buffer in, int window_bits, bool with_name) {
    z_stream z = {0};
    gz_header header = {
        .time = 12345, .os = 3, .name = (Bytef *)"images", .comment = (Bytef *)"made by a test"};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
    if (with_name) assert_int_equal(deflateSetHeader(&z, &header), Z_OK);
    buffer out = make_buffer(deflateBound(&z, in.size) + 64);
    z.next_in = in.bytes;
    z.avail_in = (uInt)in.size;
    z.next_out = out.bytes;
    z.avail_out = (uInt)out.size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.size = z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    return out;
}

void put_word(uint8_t *at, uint32_t word) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(word >> (24 - 8 * i));
}

buffer make_images(uint32_t count, uint32_t height, uint32_t width) {
    buffer b = make_buffer(16 + (size_t)count * height * width);
    uint32_t state = 1;
    put_word(b.bytes, 0x803);
    put_word(b.bytes + 4, count);
    put_word(b.bytes + 8, height);
    put_word(b.bytes + 12, width);
    for (size_t i = 16; i < b.size; i++)
        b.bytes[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    return b;
}

buffer make_labels(uint32_t count, uint32_t classes) {
    buffer b = make_buffer(8 + (size_t)count);
    put_word(b.bytes, 0x801);
    put_word(b.bytes + 4, count);
    for (uint32_t i = 0; i < count; i++) b.bytes[8 + i] = (uint8_t)((i + classes - 1) % classes);
    return b;
}

void write_as(int file, bool gz, buffer contents, bool with_name) {
    if (!gz) {
        write_file(file, false, contents.bytes, contents.size);
        return;
    }
    buffer packed = compress_as(contents, GZIP, with_name);
    write_file(file, true, packed.bytes, packed.size);
    free(packed.bytes);
}

buffer small_contents(int file) {
    return file == IMAGES ? make_images(3, 2, 5) : make_labels(3, 3);
}

void write_small(int file, bool gz) {
    buffer contents = small_contents(file);
    write_as(file, gz, contents, false);
    free(contents.bytes);
}

void assert_zeroed(const ls_dataset *set) {
    const ls_dataset zero = {0};
    assert_null(set->images);
    assert_null(set->labels);
    assert_true(set->count == zero.count && set->height == 0 && set->width == 0 && set->classes == 0);
}

ls_status read_part(const char *from, ls_data_part part, ls_dataset *set) {
    ls_reader *reader;
    *set = (ls_dataset){0};
    LS_TRY(ls_reader_open(from, &reader));
    ls_status status = ls_reader_read(reader, part, set);
    ls_reader_close(&reader);
    return status;
}

void assert_refused(int file, const char *what, const char *expected) {
    ls_dataset set = {.count = 7, .classes = 7};
    ls_status status = read_part(folder, LS_DATA_TRAIN, &set);
    const char *message = ls_error_message();
    char name[256];
    snprintf(name, sizeof name, "%s/%s", folder, FILES[file]);
    if (status != LS_BAD_DATA) fail_msg("%s: status %d, expected LS_BAD_DATA", what, (int)status);
    if (strncmp(message, name, strlen(name)) != 0) fail_msg("%s: no file's name in \"%s\"", what, message);
    if (!strstr(message, ": found ") || !strstr(message, "expected "))
        fail_msg("%s: what was found and expected is not in \"%s\"", what, message);
    if (!strstr(message, expected)) fail_msg("%s: no \"%s\" in \"%s\"", what, expected, message);
    assert_zeroed(&set);
}

int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state) {
    (void)state;
    remove_files();
    return rmdir(folder);
}
