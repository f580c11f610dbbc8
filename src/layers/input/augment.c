#include "layers/input/augment.h"

#include <math.h>
#include <string.h>

#include "core/elementary.h"
#include "core/rng.h"

/* Rotation, after Pillow's bicubic filter (libImaging/Geometry.c). Along one axis, between v2 and v3 and at
 * distance d from v2, the interpolated value is
 *   p1 + d (p2 + d (p3 + d p4)),  p1 = v2, p2 = v3 - v1, p3 = 2 (v1 - v2) + v3 - v4, p4 = v2 - v1 - v3 + v4,
 * in double: along x for four rows, then along y between the four results. The order of Pillow's operations
 * is kept, so that the bytes are the same. What makes it fast:
 *  - p1..p4 along x depend on the source alone. They are computed once for each place of it, exactly, as
 * small whole numbers. An output pixel reads them for four rows at once, hence they lie column after column.
 *  - Pixels beyond the edge count as the nearest one on it: a border of two rows and columns all around,
 * rather than clipped indices.
 *  - Four times four zeros give 0: pixels outside of the source or that see no lit pixel are left out.
 *  - Some rows of the output are made at once, in passes over short arrays without a branch in them, which
 * the compiler turns into vector code and the processor has nothing to guess in. */
enum { BORDER = 2, TAPS = 4, GROUP = 8, ALIGNMENT = 64 };

typedef struct plan {
    int height, width;
    size_t rows;         /* height with its border: the length of a column */
    int16_t *column;     /* [width + 4][rows]: the source, transposed, with its border */
    float *coefficients; /* [width + 1][p1..p4][rows] */
    uint8_t *lit;        /* by the same index, of p1: whether any of the 4 x 4 pixels is; at the end one 0 */
    double *x_part, *y_part; /* [width]: the part of the source's x and y that depends on the output's x */
    double *distance_x, *distance_y; /* [GROUP][width]: from the source pixel's centre */
    int32_t *first;                  /* [GROUP][width]: index of the pixel's first coefficient */
    int32_t *pixels;                 /* [GROUP width]: those to compute */
    double *values;                  /* [GROUP width][4]: of those, after the interpolation along x */
    double *result;                  /* [GROUP width]: of those, the distance along y and then the result */
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
        {&p->lit, (w + 1) * TAPS * rows + 1},
        {&p->x_part, w * sizeof *p->x_part},
        {&p->y_part, w * sizeof *p->y_part},
        {&p->distance_x, GROUP * w * sizeof *p->distance_x},
        {&p->distance_y, GROUP * w * sizeof *p->distance_y},
        {&p->first, GROUP * w * sizeof *p->first},
        {&p->pixels, GROUP * w * sizeof *p->pixels},
        {&p->values, GROUP * w * TAPS * sizeof *p->values},
        {&p->result, GROUP * w * sizeof *p->result},
    };
    char *start = scratch;
    if (start) start += (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
    p->height = height;
    p->width = width;
    p->rows = rows;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *array = start ? start + end : NULL;
        memcpy(parts[i].array, &array, sizeof array);
        end += (parts[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return end;
}

size_t ls_augment_scratch(int height, int width) {
    plan p;
    return plan_layout(&p, height, width, NULL) + ALIGNMENT;
}

static int clipped(int i, int count) {
    return i < 0 ? 0 : i < count ? i : count - 1;
}

static void prepare_columns(const plan *p, const uint8_t *in) {
    int height = p->height, width = p->width;
    size_t rows = p->rows;
    for (int r = 0; r < height + 2 * BORDER; r++) {
        const uint8_t *row = in + (size_t)clipped(r - BORDER, height) * (size_t)width;
        int16_t *to = p->column + r;
        for (int c = 0; c < BORDER; c++, to += rows) *to = row[0];
        for (int c = 0; c < width; c++, to += rows) *to = row[c];
        for (int c = 0; c < BORDER; c++, to += rows) *to = row[width - 1];
    }
}

static void prepare_coefficients(const plan *p) {
    size_t rows = p->rows, windows = rows - (TAPS - 1);
    for (int c = 0; c <= p->width; c++) {
        const int16_t *restrict v1 = p->column + (size_t)c * rows;
        const int16_t *restrict v2 = v1 + rows, *restrict v3 = v2 + rows, *restrict v4 = v3 + rows;
        float *restrict to = p->coefficients + (size_t)c * TAPS * rows;
        uint8_t *restrict lit = p->lit + (size_t)c * TAPS * rows, *restrict row_lit = lit + rows;
        for (size_t r = 0; r < rows; r++) {
            int a = v1[r], b = v2[r], d = v3[r], e = v4[r];
            to[r] = (float)b;
            to[rows + r] = (float)(d - a);
            to[2 * rows + r] = (float)(2 * (a - b) + d - e);
            to[3 * rows + r] = (float)(b - a - d + e);
        }
        for (size_t r = 0; r < rows; r++) row_lit[r] = (uint8_t)(v1[r] | v2[r] | v3[r] | v4[r]);
        for (size_t r = 0; r < windows; r++)
            lit[r] = (row_lit[r] | row_lit[r + 1] | row_lit[r + 2] | row_lit[r + 3]) != 0;
    }
    p->lit[(size_t)(p->width + 1) * TAPS * rows] = 0;
}

/* The matrix that takes the output's pixel centres to the source: (x, y) -> (a x + b y + c, d x + e y + f).
 */
typedef struct affine {
    double a, b, c, d, e, f;
} affine;

/* Where the pixels of output row y lie in the source: the group's row i of distance_x, distance_y and first.
 * Inside the image the coordinates are above -1 after the half is taken off. */
static void locate(const plan *p, const affine *m, int y, int i) {
    const double shift = 0x1.8p52; /* added and taken away again, it rounds to the nearest whole number */
    const double stride = (double)(TAPS * p->rows), outside = (double)(p->width + 1) * stride;
    const double width = p->width, height = p->height, by = m->b * (y + 0.5), ey = m->e * (y + 0.5);
    const double c = m->c, f = m->f;
    const double *restrict x_part = p->x_part, *restrict y_part = p->y_part;
    double *restrict distance_x = p->distance_x + (size_t)i * (size_t)p->width;
    double *restrict distance_y = p->distance_y + (size_t)i * (size_t)p->width;
    int32_t *restrict first = p->first + (size_t)i * (size_t)p->width;
    for (int j = 0; j < p->width; j++) {
        double source_x = x_part[j] + by + c, source_y = y_part[j] + ey + f;
        double from_x = source_x - 0.5, from_y = source_y - 0.5;
        double column = (from_x + shift) - shift, row = (from_y + shift) - shift;
        column -= column > from_x ? 1.0 : 0.0; /* from the nearest down to the floor */
        row -= row > from_y ? 1.0 : 0.0;
        distance_x[j] = from_x - column;
        distance_y[j] = from_y - row;
        double index = (column + 1) * stride + (row + 1);
        index = source_x >= 0 ? index : outside;
        index = source_x < width ? index : outside;
        index = source_y >= 0 ? index : outside;
        index = source_y < height ? index : outside;
        first[j] = (int32_t)index;
    }
}

/* The pixels of the group that can be other than 0; returns their number. */
static int choose(const plan *p, int count) {
    int chosen = 0;
    for (int i = 0; i < count; i++) {
        p->pixels[chosen] = i;
        chosen += p->lit[p->first[i]];
    }
    return chosen;
}

static void along_x(const plan *p, int count) {
    size_t rows = p->rows;
    const double *restrict distance_x = p->distance_x, *restrict distance_y = p->distance_y;
    double *restrict values = p->values, *restrict result = p->result;
    for (int i = 0; i < count; i++) {
        int pixel = p->pixels[i];
        const float *restrict c = p->coefficients + p->first[pixel];
        double d = distance_x[pixel];
        for (int j = 0; j < TAPS; j++)
            values[TAPS * i + j] =
                (double)c[j] +
                d * ((double)c[rows + j] + d * ((double)c[2 * rows + j] + d * (double)c[3 * rows + j]));
        result[i] = distance_y[pixel];
    }
}

static void along_y(const plan *p, int count, uint8_t *restrict out) {
    const double *restrict values = p->values;
    double *restrict result = p->result;
    for (int i = 0; i < count; i++) {
        double v1 = values[TAPS * i], v2 = values[TAPS * i + 1];
        double v3 = values[TAPS * i + 2], v4 = values[TAPS * i + 3];
        double d = result[i];
        double p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
        double v = v2 + d * (p2 + d * (p3 + d * p4));
        v = v > 0.0 ? v : 0.0;
        result[i] = v < 255.0 ? v : 255.0;
    }
    for (int i = 0; i < count; i++) out[p->pixels[i]] = (uint8_t)(int)result[i];
}

/* To 15 decimals, as Pillow rounds the entries of its matrix (so that cos(90 degrees) is 0), and exactly,
 * since sin(45 degrees) is near the middle between two such numbers. fma() is defined to the bit, unlike
 * sin(). */
static double rounded(double v) {
    double scaled = v * 1e15, shift = 0x1.8p52;
    double nearest = (scaled + shift) - shift;
    double rest = (scaled - nearest) + fma(v, 1e15, -scaled);
    if (rest > 0.5) nearest += 1;
    if (rest < -0.5) nearest -= 1;
    return nearest / 1e15;
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

void ls_rotate_bicubic(const uint8_t *in, int height, int width, double degrees, uint8_t *out,
                       void *scratch) {
    degrees = fmod(degrees, 360); /* exact, on every processor */
    if (degrees < 0) degrees += 360;
    if (turn(in, height, width, degrees, out)) return;

    plan p;
    plan_layout(&p, height, width, scratch);
    prepare_columns(&p, in);
    prepare_coefficients(&p);

    /* About the middle. */
    double angle = -(degrees * (0x1.921fb54442d18p+1 / 180)), x = width / 2.0, y = height / 2.0;
    affine m = {.a = rounded(ls_cos(angle)), .b = rounded(ls_sin(angle)), .d = rounded(-ls_sin(angle))};
    m.e = m.a;
    m.c = (m.a * -x + m.b * -y) + x;
    m.f = (m.d * -x + m.e * -y) + y;
    for (int j = 0; j < width; j++) {
        p.x_part[j] = m.a * (j + 0.5);
        p.y_part[j] = m.d * (j + 0.5);
    }
    memset(out, 0, (size_t)height * (size_t)width);
    for (int start = 0; start < height; start += GROUP) {
        int lines = height - start < GROUP ? height - start : GROUP;
        for (int i = 0; i < lines; i++) locate(&p, &m, start + i, i);
        int count = choose(&p, lines * width);
        along_x(&p, count);
        along_y(&p, count, out + (size_t)start * (size_t)width);
    }
}

/* Pillow's ImagingBlend: in single precision, clipped and cut off, not rounded. In two loops, as along_y().
 */
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

void ls_brightness(uint8_t *image, size_t count, double factor) {
    blend(image, count, 0, factor);
}

void ls_contrast(uint8_t *image, size_t count, double factor) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += image[i];
    if (count) blend(image, count, (int)((double)sum / (double)count + 0.5), factor);
}

void ls_augment(const ls_augmentation *how, uint64_t seed, uint32_t epoch, uint32_t sample, const uint8_t *in,
                int height, int width, uint8_t *out, void *scratch) {
    size_t count = (size_t)height * (size_t)width;
    ls_rng rng = ls_rng_stream(seed, LS_RNG_AUGMENT, 0, epoch, sample);
    uint32_t words[8];
    ls_rng_blocks(&rng, 0, 2, words);
    if (!(ls_rng_unit(words[0]) < how->probability)) {
        memcpy(out, in, count);
        return;
    }
    ls_rotate_bicubic(in, height, width, (2 * ls_rng_unit(words[1]) - 1) * how->rotation, out, scratch);
    ls_brightness(out, count, 1 + (2 * ls_rng_unit(words[2]) - 1) * how->brightness);
    if (ls_rng_unit(words[3]) < how->contrast_probability)
        ls_contrast(out, count, 1 + (2 * ls_rng_unit(words[4]) - 1) * how->contrast);
}
