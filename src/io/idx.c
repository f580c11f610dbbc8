/* The IDX reader. A file passes three gates before a byte is allocated for its values: it is a regular file,
 * its header is right, and the bytes on disk can hold what the header promises. Then exactly that many values
 * are read, and the file must end there: for gzip, after one member whose CRC and length zlib has compared.
 */
#include "io/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/idx_names.h"

#define MAX_DIMS  3
#define MAX_BYTES (INT64_C(8) << 30) /* of one set, images and labels together */

/* Deflate spends at least 2 bits on a match of at most 258 bytes: 1032 bytes out of one byte in, never more.
 */
#define MAX_DEFLATE_RATIO 1032

#define GZIP_WINDOW_BITS (16 + MAX_WBITS) /* zlib's code for "a gzip member and nothing else" */

_Static_assert(sizeof(size_t) >= sizeof(int64_t), "sizes of up to 8 GiB are kept in size_t");

/* A file being read: its values, decompressed where it is gzip. */
typedef struct source {
    const char *path;
    int fd; /* -1 while not open */
    int64_t file_size;
    bool gzip, inflating; /* inflating: z is to be released */
    bool ended;           /* gzip: the member's trailer has been read and is right */
    z_stream z;
    uint8_t input[1 << 15];
} source;

static void source_close(source *src) {
    if (src->inflating) (void)inflateEnd(&src->z);
    if (src->fd >= 0) (void)close(src->fd); /* nothing was written that could be lost */
    src->inflating = false;
    src->fd = -1;
}

static const char *file_type(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
    return "something else";
}

static ls_status check_regular(source *src) {
    struct stat status;
    if (fstat(src->fd, &status) != 0)
        return ls_fail(LS_BAD_DATA, "%s: fstat: found \"%s\", expected a regular file", src->path,
                       strerror(errno));
    if (!S_ISREG(status.st_mode))
        return ls_fail(LS_BAD_DATA, "%s: wrong kind of file: found %s, expected a regular file", src->path,
                       file_type(status.st_mode));
    src->file_size = (int64_t)status.st_size;
    return LS_OK;
}

/* Whoever unpacks a file and keeps its name leaves a plain one called .gz. Shorter files are zlib's to judge.
 */
static ls_status check_is_gzip(const source *src) {
    uint8_t head[4];
    ssize_t got = pread(src->fd, head, sizeof head, 0);
    if (got < (ssize_t)sizeof head || (head[0] == 0x1f && head[1] == 0x8b)) return LS_OK;
    if (head[0] == 0 && head[1] == 0 && head[2] == 0x08)
        return ls_fail(LS_BAD_DATA,
                       "%s: not compressed: found a plain IDX file, expected gzip's 1f 8b (rename it without "
                       ".gz)",
                       src->path);
    return ls_fail(LS_BAD_DATA, "%s: not gzip: found %02x %02x, expected 1f 8b", src->path, head[0], head[1]);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), ending = strlen(end);
    return length >= ending && strcmp(text + length - ending, end) == 0;
}

/* Whatever happens, source_close() releases. */
static ls_status source_open(source *src, const char *path) {
    src->path = path;
    src->gzip = ends_with(path, ".gz");
    /* O_NONBLOCK: a FIFO without a writer must not hang the run. */
    do {
        src->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    } while (src->fd < 0 && errno == EINTR);
    if (src->fd < 0)
        return ls_fail(LS_BAD_DATA, "%s: cannot be opened: found \"%s\", expected a readable file", path,
                       strerror(errno));
    LS_TRY(check_regular(src));
    if (!src->gzip) return LS_OK;
    LS_TRY(check_is_gzip(src));
    int code = inflateInit2(&src->z, GZIP_WINDOW_BITS);
    if (code != Z_OK) return ls_fail(LS_INTERNAL, "%s: zlib: inflateInit2: %s", src->path, zError(code));
    src->inflating = true;
    return LS_OK;
}

/* Reads up to size bytes of the file as it is on disk; fewer only at its end. */
static ls_status read_disk(source *src, uint8_t *out, size_t size, size_t *got) {
    *got = 0;
    while (*got < size) {
        ssize_t n = read(src->fd, out + *got, size - *got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return ls_fail(LS_BAD_DATA, "%s: cannot be read: found \"%s\", expected %zu more bytes",
                           src->path, strerror(errno), size - *got);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return LS_OK;
}

static ls_status check_inflate(const source *src, int code) {
    if (code == Z_OK || code == Z_STREAM_END) return LS_OK;
    if (code == Z_DATA_ERROR || code == Z_NEED_DICT)
        return ls_fail(LS_BAD_DATA, "%s: damaged gzip: found \"%s\", expected an intact gzip member",
                       src->path, src->z.msg ? src->z.msg : zError(code));
    return ls_fail(LS_INTERNAL, "%s: zlib: inflate: %s", src->path, src->z.msg ? src->z.msg : zError(code));
}

/* As source_read, for gzip. Output beyond `size` is never made, so that a bomb stops at what the caller asks
 * for. */
static ls_status read_inflated(source *src, uint8_t *out, size_t size, size_t *got) {
    z_stream *z = &src->z;
    *got = 0;
    while (*got < size && !src->ended) {
        if (z->avail_in == 0) {
            size_t n;
            LS_TRY(read_disk(src, src->input, sizeof src->input, &n));
            if (n == 0)
                return ls_fail(LS_BAD_DATA,
                               "%s: truncated gzip: found the end of the file after %" PRId64
                               " bytes, expected the rest of the member and its trailer",
                               src->path, src->file_size);
            z->next_in = src->input;
            z->avail_in = (uInt)n;
        }
        size_t room = size - *got < (1 << 30) ? size - *got : (1 << 30); /* zlib counts in 32 bits */
        z->next_out = out + *got;
        z->avail_out = (uInt)room;
        int code = inflate(z, Z_NO_FLUSH);
        LS_TRY(check_inflate(src, code));
        *got += room - z->avail_out;
        src->ended = code == Z_STREAM_END;
    }
    return LS_OK;
}

/* Reads up to size bytes of the contents; fewer only at their end. */
static ls_status source_read(source *src, uint8_t *out, size_t size, size_t *got) {
    return src->gzip ? read_inflated(src, out, size, got) : read_disk(src, out, size, got);
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static ls_status check_magic(const source *src, const uint8_t *magic, int dims) {
    if (!src->gzip && magic[0] == 0x1f && magic[1] == 0x8b)
        return ls_fail(LS_BAD_DATA,
                       "%s: wrong magic: found gzip's 1f 8b, expected 00 00 (rename it to end in .gz)",
                       src->path);
    if (magic[0] != 0 || magic[1] != 0)
        return ls_fail(LS_BAD_DATA, "%s: wrong magic: found %02x %02x, expected 00 00", src->path, magic[0],
                       magic[1]);
    if (magic[2] != 0x08)
        return ls_fail(LS_BAD_DATA, "%s: wrong type of values: found %02x, expected 08 (unsigned bytes)",
                       src->path, magic[2]);
    if (magic[3] != dims)
        return ls_fail(LS_BAD_DATA, "%s: wrong number of dimensions: found %d, expected %d", src->path,
                       magic[3], dims);
    return LS_OK;
}

static ls_status read_header(source *src, int dims, uint32_t *shape) {
    uint8_t header[4 + 4 * MAX_DIMS];
    size_t size = 4 + 4 * (size_t)dims, got, more = 0;
    LS_TRY(source_read(src, header, 4, &got));
    if (got == 4) {
        LS_TRY(check_magic(src, header, dims));
        LS_TRY(source_read(src, header + 4, size - 4, &more));
    }
    if (got + more < size)
        return ls_fail(LS_BAD_DATA, "%s: incomplete header: found %zu bytes, expected %zu", src->path,
                       got + more, size);
    for (int d = 0; d < dims; d++) {
        shape[d] = big_endian(header + 4 + 4 * d);
        if (shape[d] == 0)
            return ls_fail(LS_BAD_DATA, "%s: empty: found a size of 0 in dimension %d, expected at least 1",
                           src->path, d + 1);
    }
    return LS_OK;
}

/* *bytes = the images' bytes, refused where they and one label an image pass MAX_BYTES. The sizes are > 0. */
static ls_status count_bytes(const source *src, const uint32_t *shape, int64_t *bytes) {
    int64_t limit = MAX_BYTES - shape[0];
    *bytes = 1;
    for (int d = 0; d < MAX_DIMS; d++) {
        if (shape[d] > INT_MAX || *bytes > limit / shape[d])
            return ls_fail(LS_BAD_DATA,
                           "%s: too large: found %" PRIu32 " images of %" PRIu32 " x %" PRIu32
                           ", expected sizes up to %d and at most %" PRId64 " bytes of images and labels",
                           src->path, shape[0], shape[1], shape[2], INT_MAX, MAX_BYTES);
        *bytes *= shape[d];
    }
    return LS_OK;
}

/* Can the file on disk hold `promised` bytes of header and values? Asked before they are allocated. */
static ls_status check_file_size(const source *src, int64_t promised) {
    if (!src->gzip && src->file_size != promised)
        return ls_fail(LS_BAD_DATA,
                       "%s: wrong length: found %" PRId64 " bytes, expected %" PRId64 " by its header",
                       src->path, src->file_size, promised);
    if (src->gzip && promised / MAX_DEFLATE_RATIO > src->file_size)
        return ls_fail(LS_BAD_DATA,
                       "%s: wrong length: found %" PRId64
                       " bytes of gzip, which cannot hold the expected %" PRId64 " bytes of its header",
                       src->path, src->file_size, promised);
    return LS_OK;
}

/* The contents end here, and the file with them. */
static ls_status check_end(source *src, int64_t promised) {
    uint8_t extra;
    size_t got;
    LS_TRY(source_read(src, &extra, 1, &got));
    if (got > 0)
        return ls_fail(LS_BAD_DATA, "%s: wrong length: found more, expected %" PRId64 " bytes by its header",
                       src->path, promised);
    if (!src->gzip) return LS_OK;
    if (src->z.avail_in == 0) LS_TRY(read_disk(src, &extra, 1, &got));
    if (src->z.avail_in > 0 || got > 0)
        return ls_fail(
            LS_BAD_DATA,
            "%s: bytes behind the gzip member: found more than its %lu bytes, expected the end of the file",
            src->path, src->z.total_in);
    return LS_OK;
}

/* Reads the values that the header promises into *values, owned by the caller, and checks that they are all.
 */
static ls_status read_values(source *src, int dims, int64_t bytes, uint8_t **values) {
    int64_t promised = 4 + 4 * dims + bytes;
    size_t got;
    LS_TRY(check_file_size(src, promised));
    LS_TRY(ls_calloc(values, (size_t)bytes, 1, src->path));
    LS_TRY(source_read(src, *values, (size_t)bytes, &got));
    if ((int64_t)got < bytes)
        return ls_fail(LS_BAD_DATA,
                       "%s: wrong length: found %" PRId64 " bytes, expected %" PRId64 " by its header",
                       src->path, promised - bytes + (int64_t)got, promised);
    return check_end(src, promised);
}

/* Header and size of a file of images; leaves the source at their values. */
static ls_status read_image_sizes(source *src, const char *path, ls_dataset *set, int64_t *bytes) {
    uint32_t shape[MAX_DIMS];
    LS_TRY(source_open(src, path));
    LS_TRY(read_header(src, MAX_DIMS, shape));
    LS_TRY(count_bytes(src, shape, bytes));
    LS_TRY(check_file_size(src, 4 + 4 * MAX_DIMS + *bytes));
    set->count = shape[0];
    set->height = (int)shape[1];
    set->width = (int)shape[2];
    return LS_OK;
}

static ls_status read_labels(const char *path, ls_dataset *set) {
    source src = {.fd = -1};
    uint32_t count;
    ls_status status = source_open(&src, path);
    if (status == LS_OK) status = read_header(&src, 1, &count);
    if (status == LS_OK && count != set->count)
        status = ls_fail(LS_BAD_DATA,
                         "%s: wrong count of labels: found %" PRIu32 ", expected %" PRId64 ", one an image",
                         path, count, set->count);
    if (status == LS_OK) status = read_values(&src, 1, set->count, &set->labels);
    for (int64_t i = 0; i < set->count && status == LS_OK; i++)
        if (set->labels[i] >= set->classes) set->classes = set->labels[i] + 1;
    source_close(&src);
    return status;
}

/* A part; its images only where they are wanted. */
static ls_status read_part(ls_reader *reader, ls_data_part part, bool with_images, ls_dataset *set) {
    source src = {.fd = -1};
    int64_t bytes;
    free(reader->images[part]);
    free(reader->labels[part]);
    reader->labels[part] = NULL;
    LS_TRY(ls_idx_find_file(reader->path, part, LS_IDX_IMAGES, &reader->images[part]));
    ls_status status = read_image_sizes(&src, reader->images[part], set, &bytes);
    if (status == LS_OK && with_images) status = read_values(&src, MAX_DIMS, bytes, &set->images);
    source_close(&src);
    LS_TRY(status);
    LS_TRY(ls_idx_find_file(reader->path, part, LS_IDX_LABELS, &reader->labels[part]));
    return read_labels(reader->labels[part], set);
}

/* --- the class ------------------------------------------------------------------------------------- */

static bool probe(const char *path, char *miss, size_t size) {
    char *folder = NULL;
    ls_status status = ls_idx_find_folder(path, &folder);
    bool found = folder || status != LS_OK; /* open() fails again, with a message */
    if (!found) ls_idx_explain_miss(path, miss, size);
    free(folder);
    return found;
}

static ls_status open_set(ls_reader *reader) {
    char *folder;
    LS_TRY(ls_idx_find_folder(reader->path, &folder));
    if (!folder) return ls_fail(LS_BAD_DATA, "%s: the files are gone", reader->path);
    free(reader->path);
    reader->path = folder;
    return LS_OK;
}

static ls_status read_sizes(ls_reader *reader, ls_data_part part, ls_dataset *sizes) {
    ls_status status = read_part(reader, part, false, sizes);
    free(sizes->labels);
    sizes->labels = NULL;
    return status;
}

static ls_status read_set(ls_reader *reader, ls_data_part part, ls_dataset *set) {
    return read_part(reader, part, true, set);
}

const ls_reader_class ls_idx_reader = {
    .name = "IDX", .probe = probe, .open = open_set, .sizes = read_sizes, .read = read_set};
