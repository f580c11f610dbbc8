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

#define MAX_DIMS  3
#define MAX_BYTES (INT64_C(8) << 30) /* of one set, images and labels together */

/* Deflate spends at least 2 bits on a match of at most 258 bytes: 1032 bytes out of one byte in, never more.
 */
#define MAX_DEFLATE_RATIO 1032

#define GZIP_WINDOW_BITS (16 + MAX_WBITS) /* zlib's code for "a gzip member and nothing else" */

_Static_assert(sizeof(size_t) >= sizeof(int64_t), "sizes of up to 8 GiB are kept in size_t");

/* A file being read: its values, decompressed where it is gzip. */
typedef struct source {
    char *path; /* owned */
    int fd;     /* -1 while not open */
    int64_t file_size;
    bool gzip, inflating; /* inflating: z is to be released */
    bool ended;           /* gzip: the member's trailer has been read and is right */
    z_stream z;
    uint8_t input[1 << 15];
} source;

static void source_close(source *src) {
    if (src->inflating) (void)inflateEnd(&src->z);
    if (src->fd >= 0) (void)close(src->fd); /* nothing was written that could be lost */
    free(src->path);
    src->inflating = false;
    src->fd = -1;
    src->path = NULL;
}

static ls_status join_path(char **out, const char *folder, const char *part, const char *kind,
                           const char *suffix) {
    size_t size = strlen(folder) + strlen(part) + strlen(kind) + strlen(suffix) + 3;
    LS_TRY(ls_calloc(out, size, 1, "the name of a file"));
    int length = snprintf(*out, size, "%s/%s-%s%s", folder, part, kind, suffix);
    if (length < 0 || (size_t)length >= size)
        return ls_fail(LS_INTERNAL, "%s: cannot form a file's name", folder);
    return LS_OK;
}

/* Opens folder/part-kind + suffix. *missing: there is no such file, which is not a failure. */
static ls_status open_suffixed(source *src, const char *folder, const char *part, const char *kind,
                               const char *suffix, bool *missing) {
    free(src->path);
    src->path = NULL;
    LS_TRY(join_path(&src->path, folder, part, kind, suffix));
    /* O_NONBLOCK: a FIFO without a writer must not hang the run. */
    do {
        src->fd = open(src->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    } while (src->fd < 0 && errno == EINTR);
    *missing = src->fd < 0 && errno == ENOENT;
    if (src->fd < 0 && !*missing)
        return ls_fail(LS_BAD_DATA, "%s: cannot be opened: found \"%s\", expected a readable file", src->path,
                       strerror(errno));
    return LS_OK;
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

/* Opens the plain file or else the .gz; whatever happens, source_close() releases. */
static ls_status source_open(source *src, const char *folder, const char *part, const char *kind) {
    bool missing = false;
    LS_TRY(open_suffixed(src, folder, part, kind, "", &missing));
    if (missing) {
        src->gzip = true;
        LS_TRY(open_suffixed(src, folder, part, kind, ".gz", &missing));
    }
    if (missing)
        return ls_fail(LS_BAD_DATA, "%s/%s-%s: missing: found neither it nor %s-%s.gz, expected one of them",
                       folder, part, kind, part, kind);
    LS_TRY(check_regular(src));
    if (!src->gzip) return LS_OK;
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

static ls_status read_images(source *src, const char *folder, const char *part, ls_dataset *set) {
    uint32_t shape[MAX_DIMS];
    int64_t bytes;
    LS_TRY(source_open(src, folder, part, "images-idx3-ubyte"));
    LS_TRY(read_header(src, MAX_DIMS, shape));
    LS_TRY(count_bytes(src, shape, &bytes));
    LS_TRY(read_values(src, MAX_DIMS, bytes, &set->images));
    set->count = shape[0];
    set->height = (int)shape[1];
    set->width = (int)shape[2];
    return LS_OK;
}

static ls_status read_labels(source *src, const char *folder, const char *part, ls_dataset *set) {
    uint32_t count;
    LS_TRY(source_open(src, folder, part, "labels-idx1-ubyte"));
    LS_TRY(read_header(src, 1, &count));
    if (count != set->count)
        return ls_fail(LS_BAD_DATA,
                       "%s: wrong count of labels: found %" PRIu32 ", expected %" PRId64 ", one an image",
                       src->path, count, set->count);
    LS_TRY(read_values(src, 1, set->count, &set->labels));
    for (int64_t i = 0; i < set->count; i++)
        if (set->labels[i] >= set->classes) set->classes = set->labels[i] + 1;
    return LS_OK;
}

ls_status ls_idx_read(const char *folder, const char *part, ls_dataset *set) {
    *set = (ls_dataset){0};
    source images = {.fd = -1}, labels = {.fd = -1};
    ls_status status = read_images(&images, folder, part, set);
    source_close(&images);
    if (status == LS_OK) {
        status = read_labels(&labels, folder, part, set);
        source_close(&labels);
    }
    if (status != LS_OK) ls_dataset_destroy(set);
    return status;
}

ls_status ls_idx_read_sizes(const char *folder, const char *part, ls_dataset *sizes) {
    source images = {.fd = -1}, labels = {.fd = -1};
    ls_dataset set = {0};
    uint32_t shape[MAX_DIMS];
    int64_t bytes;
    *sizes = (ls_dataset){0};
    ls_status status = source_open(&images, folder, part, "images-idx3-ubyte");
    if (status == LS_OK) status = read_header(&images, MAX_DIMS, shape);
    if (status == LS_OK) status = count_bytes(&images, shape, &bytes);
    if (status == LS_OK) status = check_file_size(&images, 4 + 4 * MAX_DIMS + bytes);
    source_close(&images);
    LS_TRY(status);
    set = (ls_dataset){.count = shape[0], .height = (int)shape[1], .width = (int)shape[2]};
    status = read_labels(&labels, folder, part, &set);
    source_close(&labels);
    if (status == LS_OK)
        *sizes = (ls_dataset){
            .count = set.count, .height = set.height, .width = set.width, .classes = set.classes};
    ls_dataset_destroy(&set);
    return status;
}

ls_status ls_idx_check_pair(const char *folder, const ls_dataset *train, const ls_dataset *test) {
    if (test->height != train->height || test->width != train->width)
        return ls_fail(
            LS_BAD_DATA,
            "%s/t10k-images-idx3-ubyte: wrong image size: found %d x %d, expected %d x %d as in train-images",
            folder, test->height, test->width, train->height, train->width);
    for (int64_t i = 0; i < test->count; i++)
        if (test->labels[i] >= train->classes)
            return ls_fail(LS_BAD_DATA,
                           "%s/t10k-labels-idx1-ubyte: wrong label: found %d at image %" PRId64
                           ", expected 0 to %d as in train-labels",
                           folder, test->labels[i], i, train->classes - 1);
    return LS_OK;
}
