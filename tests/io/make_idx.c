/* Makes a small set of images that a network can learn, as MNIST's four IDX files:
 *
 *     make_idx DIR TRAIN_COUNT TEST_COUNT [HEIGHT WIDTH CLASSES SEED] [--gz]
 *
 * A class is a few smooth blobs at fixed random places; an image is its class's pattern, moved by up to a
 * 14th of its size, brighter or darker, with noise on the strokes and a border of zeros. Every byte is a pure
 * function of the arguments: Philox numbers and integer arithmetic, no clock, no C library's rand or exp. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <Random123/philox.h>
#include <zlib.h>

#define BLOBS 5
#define UNIT  1024 /* of lengths: an image spans UNIT in each direction */

/* What a random number is for: the second word of the counter. */
enum { PURPOSE_PATTERN = 1, PURPOSE_SAMPLE, PURPOSE_NOISE };
enum { PART_TRAIN = 1, PART_TEST };

typedef struct blob {
    int64_t y, x, radius; /* in UNITs */
} blob;

typedef struct config {
    const char *folder;
    uint64_t counts[2]; /* training, test */
    uint64_t height, width, classes, seed;
    bool gzip;
    blob (*patterns)[BLOBS]; /* [classes] */
} config;

static philox4x32_ctr_t draw(const config *c, uint32_t purpose, uint32_t part, uint32_t item,
                             uint32_t block) {
    philox4x32_ctr_t counter = {{block, purpose, part, item}};
    philox4x32_key_t key = {{(uint32_t)c->seed, (uint32_t)(c->seed >> 32)}};
    return philox4x32(counter, key);
}

/* A uniform integer of low .. high. */
static int64_t between(uint32_t word, int64_t low, int64_t high) {
    return low + (int64_t)(((uint64_t)word * (uint64_t)(high - low + 1)) >> 32);
}

static void make_patterns(const config *c) {
    for (uint32_t k = 0; k < c->classes; k++)
        for (uint32_t b = 0; b < BLOBS; b++) {
            philox4x32_ctr_t r = draw(c, PURPOSE_PATTERN, 0, k, b);
            c->patterns[k][b] =
                (blob){between(r.v[0], UNIT / 4, 3 * UNIT / 4), between(r.v[1], UNIT / 4, 3 * UNIT / 4),
                       between(r.v[2], UNIT / 9, UNIT / 5)};
        }
}

/* The pattern's brightness at (y, x), 0 .. 255: a blob is (1 - (distance / radius)^2)^2 inside its radius. */
static int64_t brightness(const blob *pattern, int64_t y, int64_t x) {
    int64_t sum = 0;
    for (int b = 0; b < BLOBS; b++) {
        int64_t dy = y - pattern[b].y, dx = x - pattern[b].x, r2 = pattern[b].radius * pattern[b].radius;
        int64_t inside = UNIT - UNIT * (dy * dy + dx * dx) / r2;
        if (inside > 0) sum += inside * inside / UNIT;
    }
    return sum > UNIT ? 255 : sum * 255 / UNIT;
}

/* The first images show each class once, so that a set of enough images has them all; then classes are
 * random. */
static uint8_t make_label(const config *c, uint32_t part, uint64_t i) {
    if (i < c->classes) return (uint8_t)i;
    return (uint8_t)between(draw(c, PURPOSE_SAMPLE, part, (uint32_t)i, 0).v[0], 0, (int64_t)c->classes - 1);
}

static void make_image(const config *c, uint32_t part, uint64_t i, uint8_t *image) {
    const blob *pattern = c->patterns[make_label(c, part, i)];
    philox4x32_ctr_t r = draw(c, PURPOSE_SAMPLE, part, (uint32_t)i, 0);
    int64_t down = between(r.v[1], -UNIT / 14, UNIT / 14), right = between(r.v[2], -UNIT / 14, UNIT / 14);
    int64_t gain = between(r.v[3], 160, 255);
    for (uint64_t y = 0; y < c->height; y++)
        for (uint64_t x = 0; x < c->width; x++) {
            int64_t at_y = (int64_t)((2 * y + 1) * UNIT / (2 * c->height)) - down;
            int64_t at_x = (int64_t)((2 * x + 1) * UNIT / (2 * c->width)) - right;
            int64_t value = brightness(pattern, at_y, at_x) * gain / 255;
            uint32_t pixel = (uint32_t)(y * c->width + x);
            if (value > 0)
                value += between(draw(c, PURPOSE_NOISE, part, (uint32_t)i, pixel / 4).v[pixel % 4], -48, 48);
            image[pixel] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
}

/* One of the four files. zlib writes both kinds: "wbT" is a plain file. The gzip header holds no name and no
 * time. */
static gzFile open_file(const config *c, const char *part, const char *kind) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s-%s%s", c->folder, part, kind, c->gzip ? ".gz" : "");
    if (length < 0 || (size_t)length >= sizeof path) {
        fprintf(stderr, "make_idx: %s: name too long\n", c->folder);
        return NULL;
    }
    gzFile file = gzopen(path, c->gzip ? "wb6" : "wbT");
    if (!file) fprintf(stderr, "make_idx: %s: %s\n", path, strerror(errno));
    return file;
}

static bool put(gzFile file, const void *bytes, size_t size) {
    return gzfwrite(bytes, 1, size, file) == size;
}

static bool put_word(gzFile file, uint64_t word) {
    uint8_t bytes[4] = {(uint8_t)(word >> 24), (uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};
    return put(file, bytes, sizeof bytes);
}

static bool write_part(const config *c, const char *name, uint32_t part, uint64_t count) {
    size_t size = (size_t)(c->height * c->width);
    uint8_t *image = malloc(size);
    gzFile images = open_file(c, name, "images-idx3-ubyte"), labels = open_file(c, name, "labels-idx1-ubyte");
    bool good = image && images && labels && put_word(images, 0x803) && put_word(images, count) &&
                put_word(images, c->height) && put_word(images, c->width) && put_word(labels, 0x801) &&
                put_word(labels, count);
    for (uint64_t i = 0; good && i < count; i++) {
        uint8_t label = make_label(c, part, i);
        make_image(c, part, i, image);
        good = put(images, image, size) && put(labels, &label, 1);
    }
    if (images && gzclose(images) != Z_OK) good = false;
    if (labels && gzclose(labels) != Z_OK) good = false;
    free(image);
    if (!good) fprintf(stderr, "make_idx: %s: cannot write the set \"%s\"\n", c->folder, name);
    return good;
}

static bool parse(const char *text, const char *name, uint64_t low, uint64_t high, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && text[0] != '-' && value >= low && value <= high) {
        *out = value;
        return true;
    }
    fprintf(stderr, "make_idx: %s: found \"%s\", expected %llu to %llu\n", name, text,
            (unsigned long long)low, (unsigned long long)high);
    return false;
}

static bool parse_arguments(int argc, char **argv, config *c) {
    c->gzip = argc > 1 && strcmp(argv[argc - 1], "--gz") == 0;
    int n = argc - 1 - c->gzip;
    if (n != 3 && n != 7) {
        fprintf(stderr, "usage: make_idx DIR TRAIN_COUNT TEST_COUNT [HEIGHT WIDTH CLASSES SEED] [--gz]\n");
        return false;
    }
    c->folder = argv[1];
    if (!parse(argv[2], "TRAIN_COUNT", 1, 10000000, &c->counts[0])) return false;
    if (!parse(argv[3], "TEST_COUNT", 1, 10000000, &c->counts[1])) return false;
    if (n == 3) return true;
    return parse(argv[4], "HEIGHT", 1, 4096, &c->height) && parse(argv[5], "WIDTH", 1, 4096, &c->width) &&
           parse(argv[6], "CLASSES", 1, 256, &c->classes) && parse(argv[7], "SEED", 0, UINT64_MAX, &c->seed);
}

int main(int argc, char **argv) {
    blob patterns[256][BLOBS];
    config c = {.height = 28, .width = 28, .classes = 10, .seed = 1, .patterns = patterns};
    if (!parse_arguments(argc, argv, &c)) return 2;
    if (mkdir(c.folder, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "make_idx: %s: %s\n", c.folder, strerror(errno));
        return 74;
    }
    make_patterns(&c);
    bool good =
        write_part(&c, "train", PART_TRAIN, c.counts[0]) && write_part(&c, "t10k", PART_TEST, c.counts[1]);
    return good ? 0 : 74;
}
