#include "layers/input/augment.h"

#include <math.h>
#include <string.h>

#include "core/real.h"
#include "core/rng.h"
#include "layers/input/rotation.h"

/* Rotation, after Pillow's bicubic filter (libImaging/Geometry.c). Along one axis, between v2 and v3 and at
 * distance d from v2, the interpolated value is
 *   p1 + d (p2 + d (p3 + d p4)),  p1 = v2, p2 = v3 - v1, p3 = 2 (v1 - v2) + v3 - v4, p4 = v2 - v1 - v3 + v4,
 * in double: along x for four rows, then along y between the four results. The order of Pillow's operations
 * is kept, so that the bytes are the same. What makes it fast:
 *  - p1..p4 along x depend on the source alone. They are computed once for each place of it, exactly, as
 *    small whole numbers. An output pixel reads them for four rows at once: hence column after column.
 *  - Pixels beyond the edge count as the nearest one on it: a border of two rows and columns all around,
 *    rather than clipped indices.
 *  - Four times four zeros give 0: only what is within the filter's reach of a lit pixel is computed.
 *  - A row of the output is made in passes over short arrays, which the compiler turns into vector code. */
enum { BORDER = 2, TAPS = 4, ALIGNMENT = 64 };

typedef struct plan {
    size_t rows;             /* height with its border: the length of a column */
    int16_t *column;         /* [width + 4][rows]: the source, transposed, with its border */
    float *coefficients;     /* [width + 1][p1..p4][rows] */
    double *x_part, *y_part; /* [width]: the part of the source's x and y that depends on the output's x */
    double *source_x, *source_y; /* [width]: the source's coordinates, then distances from pixel centres */
    double *values;              /* [width][4]: after the interpolation along x */
    int32_t *first;              /* [width]: index of the pixel's first coefficient */
} plan;

/* Lays the arrays out from `scratch` on; returns the bytes they take. With NULL it only counts. */
static size_t plan_layout(plan *p, int height, int width, void *scratch) {
    size_t w = (size_t)width, rows = (size_t)height + 2 * BORDER, end = 0;
    const struct {
        void *array;
        size_t bytes;
    } parts[] = {
        {&p->column, (w + 2 * BORDER) * rows * sizeof *p->column},
        {&p->coefficients, (w + 1) * TAPS * rows * sizeof *p->coefficients},
        {&p->x_part, w * sizeof *p->x_part},
        {&p->y_part, w * sizeof *p->y_part},
        {&p->source_x, w * sizeof *p->source_x},
        {&p->source_y, w * sizeof *p->source_y},
        {&p->values, w * TAPS * sizeof *p->values},
        {&p->first, w * sizeof *p->first},
    };
    char *start = scratch;
    if (start) start += (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
    p->rows = rows;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *array = start ? start + end : NULL;
        memcpy(parts[i].array, &array, sizeof array);
        end += (parts[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return end;
}

static size_t scratch_bytes(int height, int width) {
    plan p;
    return plan_layout(&p, height, width, NULL) + ALIGNMENT;
}

/* The smallest box that holds all pixels above 0; empty (right <= left) for a black image. */
typedef struct box {
    int left, right, top, bottom; /* left <= x < right, top <= y < bottom */
} box;

/* `any` is scratch for one row. */
static box lit_box(const uint8_t *in, int height, int width, uint8_t *restrict any) {
    box b = {.left = 0, .right = width, .top = height, .bottom = 0};
    memset(any, 0, (size_t)width);
    for (int y = 0; y < height; y++, in += width) {
        uint8_t lit = 0;
        for (int x = 0; x < width; x++) {
            any[x] |= in[x];
            lit |= in[x];
        }
        if (lit && b.top > y) b.top = y;
        if (lit) b.bottom = y + 1;
    }
    while (b.left < b.right && !any[b.left]) b.left++;
    while (b.right > b.left && !any[b.right - 1]) b.right--;
    return b;
}

static int clipped(int i, int count) {
    return i < 0 ? 0 : i < count ? i : count - 1;
}

static void prepare_columns(const plan *p, const uint8_t *in, int height, int width) {
    size_t rows = p->rows;
    for (int r = 0; r < height + 2 * BORDER; r++) {
        const uint8_t *row = in + (size_t)clipped(r - BORDER, height) * (size_t)width;
        int16_t *to = p->column + r;
        for (int c = 0; c < BORDER; c++, to += rows) *to = row[0];
        for (int c = 0; c < width; c++, to += rows) *to = row[c];
        for (int c = 0; c < BORDER; c++, to += rows) *to = row[width - 1];
    }
}

static void prepare_coefficients(const plan *p, int width) {
    size_t rows = p->rows;
    for (int c = 0; c <= width; c++) {
        const int16_t *restrict v1 = p->column + (size_t)c * rows;
        const int16_t *restrict v2 = v1 + rows, *restrict v3 = v2 + rows, *restrict v4 = v3 + rows;
        float *restrict to = p->coefficients + (size_t)c * TAPS * rows;
        for (size_t r = 0; r < rows; r++) {
            int a = v1[r], b = v2[r], d = v3[r], e = v4[r];
            to[r] = (float)b;
            to[rows + r] = (float)(d - a);
            to[2 * rows + r] = (float)(2 * (a - b) + d - e);
            to[3 * rows + r] = (float)(b - a - d + e);
        }
    }
}

/* Turns source_x and source_y of pixels from..to-1 into distances from the pixel centre before, and finds the
 * pixels' coefficients. The coordinates are inside the image, so that after the half they are above -1. */
static void locate(const plan *p, int from, int to) {
    const double shift = 0x1.8p52, stride = (double)(TAPS * p->rows);
    double *restrict source_x = p->source_x, *restrict source_y = p->source_y;
    int32_t *restrict first = p->first;
    for (int i = from; i < to; i++) {
        double x = source_x[i] - 0.5, y = source_y[i] - 0.5;
        /* To the nearest whole number, then down to the floor. */
        double column = (x + shift) - shift, row = (y + shift) - shift;
        column -= column > x ? 1.0 : 0.0;
        row -= row > y ? 1.0 : 0.0;
        source_x[i] = x - column;
        source_y[i] = y - row;
        first[i] = (int32_t)((column + 1) * stride + (row + 1));
    }
}

static void along_x(const plan *p, int from, int to) {
    size_t rows = p->rows;
    const double *restrict distance = p->source_x;
    double *restrict values = p->values;
    for (int i = from; i < to; i++) {
        const float *restrict c = p->coefficients + p->first[i];
        double d = distance[i];
        for (int j = 0; j < TAPS; j++)
            values[TAPS * i + j] =
                (double)c[j] +
                d * ((double)c[rows + j] + d * ((double)c[2 * rows + j] + d * (double)c[3 * rows + j]));
    }
}

static void along_y(const plan *p, int from, int to, uint8_t *restrict out) {
    double *restrict distance = p->source_y;
    const double *restrict values = p->values;
    for (int i = from; i < to; i++) {
        double v1 = values[TAPS * i], v2 = values[TAPS * i + 1];
        double v3 = values[TAPS * i + 2], v4 = values[TAPS * i + 3];
        double d = distance[i];
        double p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
        double v = v2 + d * (p2 + d * (p3 + d * p4));
        v = v > 0.0 ? v : 0.0;
        distance[i] = v < 255.0 ? v : 255.0;
    }
    /* A loop of its own: in one, gcc mixes bytes of 0, 255 and v under masks, at three times the cost. */
    for (int i = from; i < to; i++) out[i] = (uint8_t)(int)distance[i];
}

/* The turns that Pillow makes by moving pixels. Returns 0 for any other angle. */
static int turn(const uint8_t *in, int height, int width, double degrees, uint8_t *out) {
    size_t h = (size_t)height, w = (size_t)width;
    if (degrees == 0) {
        memcpy(out, in, h * w);
    } else if (degrees == 180) {
        for (size_t i = 0; i < h * w; i++) out[h * w - 1 - i] = in[i];
    } else if (h == w && degrees == 90) {
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) out[(w - 1 - x) * w + y] = in[y * w + x];
    } else if (h == w && degrees == 270) {
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) out[x * w + (h - 1 - y)] = in[y * w + x];
    } else {
        return 0;
    }
    return 1;
}

/* Where the source's coordinates have to be for a result other than 0. */
typedef struct reach {
    double left, right, top, bottom;
} reach;

static inline int inside(const reach *r, double x, double y) {
    return x >= r->left && x < r->right && y >= r->top && y < r->bottom;
}

/* Inside the image, and not so far from the lit box that it lies outside of the columns floor(x - 0.5) - 1 ..
 * floor(x - 0.5) + 2, and likewise the rows. */
static reach reach_of(const box *lit, int height, int width) {
    return (reach){.left = fmax(0, lit->left - 1.5),
                   .right = fmin(width, lit->right + 1.5),
                   .top = fmax(0, lit->top - 1.5),
                   .bottom = fmin(height, lit->bottom + 1.5)};
}

static void rotate(const uint8_t *in, int height, int width, double degrees, uint8_t *out, void *scratch) {
    degrees = ls_full_turn(degrees);
    if (turn(in, height, width, degrees, out)) return;

    plan p;
    plan_layout(&p, height, width, scratch);
    memset(out, 0, (size_t)height * (size_t)width);
    box lit = lit_box(in, height, width, (uint8_t *)p.first);
    if (lit.right <= lit.left) return;
    prepare_columns(&p, in, height, width);
    prepare_coefficients(&p, width);
    reach limits = reach_of(&lit, height, width);

    const ls_rotation r = ls_rotation_of(degrees, height, width);
    for (int x = 0; x < width; x++) {
        p.x_part[x] = r.a * (x + 0.5);
        p.y_part[x] = r.d * (x + 0.5);
    }
    for (int y = 0; y < height; y++, out += width) {
        double by = r.b * (y + 0.5), ey = r.e * (y + 0.5);
        const double *restrict x_part = p.x_part, *restrict y_part = p.y_part;
        double *restrict source_x = p.source_x, *restrict source_y = p.source_y;
        for (int x = 0; x < width; x++) {
            source_x[x] = x_part[x] + by + r.c;
            source_y[x] = y_part[x] + ey + r.f;
        }
        /* Each coordinate is monotone in x, rounding included: the pixels inside are one run. */
        int from = 0, to = width;
        while (from < to && !inside(&limits, source_x[from], source_y[from])) from++;
        while (to > from && !inside(&limits, source_x[to - 1], source_y[to - 1])) to--;
        locate(&p, from, to);
        along_x(&p, from, to);
        along_y(&p, from, to, out);
    }
}

/* Pillow's ImagingBlend: single precision, clipped and cut off, not rounded; two loops, as in along_y(). */
static void blend(uint8_t *image, size_t count, int base, double factor) {
    enum { PIECE = 256 };
    float alpha = (float)factor, from = (float)base, value[PIECE];
    for (size_t start = 0; start < count; start += PIECE) {
        uint8_t *piece = image + start;
        int length = count - start < PIECE ? (int)(count - start) : PIECE;
        for (int i = 0; i < length; i++) {
            float v = from + alpha * (float)(piece[i] - base);
            v = v > 0.0f ? v : 0.0f;
            value[i] = v < 255.0f ? v : 255.0f;
        }
        for (int i = 0; i < length; i++) piece[i] = (uint8_t)(int)value[i];
    }
}

static void brightness(uint8_t *image, size_t count, double factor) {
    blend(image, count, 0, factor);
}

static void contrast(uint8_t *image, size_t count, double factor) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += image[i];
    if (count) blend(image, count, (int)((double)sum / (double)count + 0.5), factor);
}

static void augment(const ls_augmentation *how, uint64_t seed, uint32_t epoch, uint32_t sample,
                    const uint8_t *in, int height, int width, uint8_t *out, void *scratch) {
    size_t count = (size_t)height * (size_t)width;
    ls_rng rng = ls_rng_stream(seed, LS_RNG_AUGMENT, 0, epoch, sample);
    uint32_t words[8];
    LS_NAME(ls_rng_blocks)(&rng, 0, 2, words);
    if (!(ls_rng_unit(words[0]) < how->probability)) {
        memcpy(out, in, count);
        return;
    }
    rotate(in, height, width, (2 * ls_rng_unit(words[1]) - 1) * how->rotation, out, scratch);
    brightness(out, count, 1 + (2 * ls_rng_unit(words[2]) - 1) * how->brightness);
    if (ls_rng_unit(words[3]) < how->contrast_probability)
        contrast(out, count, 1 + (2 * ls_rng_unit(words[4]) - 1) * how->contrast);
}

const ls_augment_kernels LS_NAME(ls_augment) = {scratch_bytes, augment, rotate, brightness, contrast};
