#include "layers/naive_winograd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TERMS = 96, SIDE = 6 };

typedef struct tile {
    double at[SIDE][SIDE];
} tile;

/* What is transformed: by B^T, G, A, A^T, G^T. */
typedef enum kind { PIXELS, WEIGHTS, GRADIENT, RESULTS, TAPS } kind;

/* --- absolute values --------------------------------------------------------------------------- */

static const double B_2[4][SIDE] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
static const double G_2[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
static const double A_2[4][4] = {{1, 0}, {1, 1}, {1, -1}, {0, 1}};
static const double B_4[6][SIDE] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                    {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
static const double G_4[6][3] = {{1 / 4., 0, 0},
                                 {-1 / 6., -1 / 6., -1 / 6.},
                                 {-1 / 6., 1 / 6., -1 / 6.},
                                 {1 / 24., 1 / 12., 1 / 6.},
                                 {1 / 24., -1 / 12., 1 / 6.},
                                 {0, 0, 1}};
static const double A_4[6][4] = {{1, 0, 0, 0}, {1, 1, 1, 1},   {1, -1, 1, -1},
                                 {1, 2, 4, 8}, {1, -2, 4, -8}, {0, 0, 0, 1}};

static int inputs_of(kind k, int t) {
    return k == WEIGHTS ? 3 : k == GRADIENT ? t : t + 2;
}
static int outputs_of(kind k, int t) {
    return k == TAPS ? 3 : k == RESULTS ? t : t + 2;
}

static double element(kind k, int t, int row, int column) {
    switch (k) {
    case PIXELS: return t == 2 ? B_2[row][column] : B_4[row][column];
    case WEIGHTS: return t == 2 ? G_2[row][column] : G_4[row][column];
    case GRADIENT: return t == 2 ? A_2[row][column] : A_4[row][column];
    case RESULTS: return t == 2 ? A_2[column][row] : A_4[column][row];
    default: return t == 2 ? G_2[column][row] : G_4[column][row];
    }
}

static void size_line(kind k, int t, const double *in, double *out) {
    for (int i = 0; i < outputs_of(k, t); i++) {
        out[i] = 0;
        for (int j = 0; j < inputs_of(k, t); j++) out[i] += fabs(element(k, t, i, j)) * in[j];
    }
}

/* --- numbers: what conv2d.h says, each operation rounded to fp32 -------------------------------- */

static void line_2(kind k, const float *d, float *v) {
    switch (k) {
    case PIXELS:
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[3] - d[1];
        break;
    case WEIGHTS:
        v[0] = d[0];
        v[1] = ((d[0] + d[2]) + d[1]) / 2;
        v[2] = ((d[0] + d[2]) - d[1]) / 2;
        v[3] = d[2];
        break;
    case GRADIENT:
        v[0] = d[0];
        v[1] = d[0] + d[1];
        v[2] = d[0] - d[1];
        v[3] = d[1];
        break;
    case RESULTS:
        v[0] = (d[0] + d[1]) + d[2];
        v[1] = (d[1] - d[2]) + d[3];
        break;
    case TAPS:
        v[0] = (d[1] + d[2]) / 2 + d[0];
        v[1] = (d[1] - d[2]) / 2;
        v[2] = (d[1] + d[2]) / 2 + d[3];
        break;
    }
}

/* Products are apart here: they are exact. */
static void line_4(kind k, const float *d, float *v) {
    switch (k) {
    case PIXELS:
        v[0] = 4 * (d[0] - d[2]) + (d[4] - d[2]);
        v[1] = (d[4] - 4 * d[2]) + (d[3] - 4 * d[1]);
        v[2] = (d[4] - 4 * d[2]) - (d[3] - 4 * d[1]);
        v[3] = 2 * (d[3] - d[1]) + (d[4] - d[2]);
        v[4] = (d[4] - d[2]) - 2 * (d[3] - d[1]);
        v[5] = (d[5] - d[3]) - 4 * (d[3] - d[1]);
        break;
    case WEIGHTS:
        v[0] = d[0];
        v[1] = (d[0] + d[2]) + d[1];
        v[2] = (d[0] + d[2]) - d[1];
        v[3] = 2 * d[1] + (4 * d[2] + d[0]);
        v[4] = (4 * d[2] + d[0]) - 2 * d[1];
        v[5] = d[2];
        break;
    case GRADIENT:
        v[0] = d[0];
        v[1] = (d[0] + d[2]) + (d[1] + d[3]);
        v[2] = (d[0] + d[2]) - (d[1] + d[3]);
        v[3] = 2 * (4 * d[3] + d[1]) + (4 * d[2] + d[0]);
        v[4] = (4 * d[2] + d[0]) - 2 * (4 * d[3] + d[1]);
        v[5] = d[3];
        break;
    case RESULTS:
        v[0] = (d[0] + (d[1] + d[2])) + (d[3] + d[4]);
        v[1] = 2 * (d[3] - d[4]) + (d[1] - d[2]);
        v[2] = 4 * (d[3] + d[4]) + (d[1] + d[2]);
        v[3] = (8 * (d[3] - d[4]) + (d[1] - d[2])) + d[5];
        break;
    case TAPS:
        v[0] = (d[0] + (d[1] + d[2])) + (d[3] + d[4]);
        v[1] = 2 * (d[3] - d[4]) + (d[1] - d[2]);
        v[2] = (4 * (d[3] + d[4]) + (d[1] + d[2])) + d[5];
        break;
    }
}

/* --- tiles ------------------------------------------------------------------------------------- */

static void transform_line(kind k, int t, bool sizes, const double *in, double *out) {
    float d[SIDE], v[SIDE];
    if (sizes) {
        size_line(k, t, in, out);
        return;
    }
    for (int i = 0; i < inputs_of(k, t); i++) d[i] = (float)in[i];
    (t == 2 ? line_2 : line_4)(k, d, v);
    for (int i = 0; i < outputs_of(k, t); i++) out[i] = (double)v[i];
}

static tile turn(const tile *t) {
    tile to;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) to.at[j][i] = t->at[i][j];
    return to;
}

/* Each of the first n lines. */
static tile across(kind k, int t, bool sizes, const tile *from, int n) {
    tile to = {{{0}}};
    for (int i = 0; i < n; i++) transform_line(k, t, sizes, from->at[i], to.at[i]);
    return to;
}

/* F(4x4)'s weights, or sums, by their scale: one product. Sizes have it in G. */
static void scale(tile *t) {
    static const double n[SIDE] = {1 / 4.0, -1 / 6.0, -1 / 6.0, 1 / 24.0, 1 / 24.0, 1};
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) t->at[i][j] = (double)((float)t->at[i][j] * (float)(n[i] * n[j]));
}

/* Down the columns, then across; results across first. */
static tile transform(kind k, int t, bool sizes, tile from) {
    if (k == TAPS && t == 4 && !sizes) scale(&from);
    if (k != RESULTS) from = turn(&from);
    tile half = across(k, t, sizes, &from, inputs_of(k, t));
    half = turn(&half);
    tile to = across(k, t, sizes, &half, outputs_of(k, t));
    if (k == RESULTS) to = turn(&to);
    if (k == WEIGHTS && t == 4 && !sizes) scale(&to);
    return to;
}

/* As a factor of products: in bf16 rounded to its 8 bits, ties to even. */
static double given(double x, bool sizes) {
#ifdef LS_BF16
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    float factor;
    memcpy(&factor, &bits, sizeof factor);
    x = (double)factor;
#endif
    return sizes ? fabs(x) : x;
}

/* An image's `size` x `size` pixels of a channel from (line, pixel), zeros around it. */
static tile cut(const real *image, int64_t height, int64_t width, int64_t channels, int64_t c, int64_t line,
                int64_t pixel, int size, bool sizes) {
    tile t = {{{0}}};
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            if (line + i >= 0 && line + i < height && pixel + j >= 0 && pixel + j < width)
                t.at[i][j] = given((double)image[((line + i) * width + pixel + j) * channels + c], sizes);
    return t;
}

static void add_products(tile *sum, const tile *a, const tile *b, bool sizes) {
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            sum->at[i][j] = sizes
                                ? sum->at[i][j] + a->at[i][j] * b->at[i][j]
                                : (double)fmaf((float)a->at[i][j], (float)b->at[i][j], (float)sum->at[i][j]);
}

static tile kernel(winograd_shape s, bool back, const real *weight, int64_t term, int64_t column,
                   bool sizes) {
    tile g = {{{0}}};
    for (int u = 0; u < 3; u++)
        for (int v = 0; v < 3; v++) {
            const int64_t tap = back ? (2 - u) * 3 + 2 - v : u * 3 + v;
            const int64_t c = back ? column : term, k = back ? term : column;
            g.at[u][v] = given((double)weight[(tap * s.inputs + c) * s.outputs + k], sizes);
        }
    return transform(WEIGHTS, s.tile, sizes, g);
}

static double gamma_of(int64_t roundings) {
    const double nu = (double)roundings * 0x1p-24;
    return nu / (1 - nu);
}

/* The image, or, if there is `bound`, that. */
static void compute(winograd_shape s, bool back, const real *weight, const real *from, real *to,
                    double *bound) {
    const bool sizes = bound;
    const int t = s.tile;
    const int64_t from_height = back ? s.out_height : s.height, from_width = back ? s.out_width : s.width;
    const int64_t height = back ? s.height : s.out_height, width = back ? s.width : s.out_width;
    const int64_t terms = back ? s.outputs : s.inputs, columns = back ? s.inputs : s.outputs;
    const int64_t pad = back ? 2 - s.pad : s.pad, roundings = terms + (t == 2 ? 10 : 16);
    if (terms > MOST_TERMS) abort();
    for (int64_t k = 0; k < columns; k++) {
        tile u[MOST_TERMS];
        for (int64_t c = 0; c < terms; c++) u[c] = kernel(s, back, weight, c, k, sizes);
        for (int64_t line = 0; line < height; line += t)
            for (int64_t pixel = 0; pixel < width; pixel += t) {
                tile sum = {{{0}}};
                for (int64_t c = 0; c < terms; c++) {
                    const tile v = transform(
                        PIXELS, t, sizes,
                        cut(from, from_height, from_width, terms, c, line - pad, pixel - pad, t + 2, sizes));
                    add_products(&sum, &v, &u[c], sizes);
                }
                const tile out = transform(RESULTS, t, sizes, sum);
                for (int i = 0; i < t && line + i < height; i++)
                    for (int j = 0; j < t && pixel + j < width; j++) {
                        const int64_t at = ((line + i) * width + pixel + j) * columns + k;
                        if (sizes)
                            bound[at] = gamma_of(roundings) * out.at[i][j];
                        else
                            to[at] = (real)out.at[i][j];
                    }
            }
    }
}

void naive_winograd(winograd_shape s, bool back, const real *weight, const real *from, real *to,
                    double *bound) {
    compute(s, back, weight, from, to, NULL);
    compute(s, back, weight, from, NULL, bound);
}

static void compute_gradient(winograd_shape s, int64_t rows, const real *x, const real *dy, real *dweight,
                             double *bound) {
    const bool sizes = bound;
    const int t = s.tile;
    const int64_t x_size = s.height * s.width * s.inputs, y_size = s.out_height * s.out_width * s.outputs;
    const int64_t tiles = rows * ((s.out_height + t - 1) / t) * ((s.out_width + t - 1) / t);
    for (int64_t c = 0; c < s.inputs; c++)
        for (int64_t k = 0; k < s.outputs; k++) {
            tile sum = {{{0}}};
            for (int64_t row = 0; row < rows; row++)
                for (int64_t line = 0; line < s.out_height; line += t)
                    for (int64_t pixel = 0; pixel < s.out_width; pixel += t) {
                        const tile v = transform(PIXELS, t, sizes,
                                                 cut(x + row * x_size, s.height, s.width, s.inputs, c,
                                                     line - s.pad, pixel - s.pad, t + 2, sizes));
                        const tile m = transform(GRADIENT, t, sizes,
                                                 cut(dy + row * y_size, s.out_height, s.out_width, s.outputs,
                                                     k, line, pixel, t, sizes));
                        add_products(&sum, &v, &m, sizes);
                    }
            const tile w = transform(TAPS, t, sizes, sum);
            for (int u = 0; u < 3; u++)
                for (int v = 0; v < 3; v++) {
                    const int64_t at = ((u * 3 + v) * s.inputs + c) * s.outputs + k;
                    if (sizes)
                        bound[at] = gamma_of(tiles + (t == 2 ? 8 : 16)) * w.at[u][v];
                    else
                        dweight[at] = (real)w.at[u][v];
                }
        }
}

void naive_winograd_gradient(winograd_shape s, int64_t rows, const real *x, const real *dy, real *dweight,
                             double *bound) {
    compute_gradient(s, rows, x, dy, dweight, NULL);
    compute_gradient(s, rows, x, dy, NULL, bound);
}
