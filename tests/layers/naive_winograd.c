#include "layers/naive_winograd.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_TERMS = 64 };

typedef struct matrix {
    int rows, columns;
    double element[4][4];
    int order[4]; /* of the columns, in which a row's terms are added */
} matrix;

static const matrix B_transposed = {
    4, 4, {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}, {0, 1, 2, 3}};
static const matrix G = {4, 3, {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}, {0, 2, 1}};
static const matrix A = {4, 2, {{1, 0}, {1, 1}, {1, -1}, {0, 1}}, {0, 1}};
static const matrix A_transposed = {2, 4, {{1, 1, 1, 0}, {0, 1, -1, 1}}, {0, 1, 2, 3}};
static const matrix G_transposed = {3, 4, {{1, .5, .5, 0}, {0, .5, -.5, 0}, {0, .5, .5, 1}}, {1, 2, 0, 3}};

typedef struct tile {
    double at[4][4];
} tile;

/* Numbers are held in double. Unless only sizes are wanted each operation rounds to fp32: the sum of two fp32
 * rounded to double first is the same. */
static double rounded(double x, bool sizes) {
    return sizes ? x : (double)(float)x;
}

static double given(double x, bool sizes) {
    return sizes ? fabs(x) : x;
}

/* m t: along lines. */
static tile multiply(const matrix *m, const tile *t, int columns, bool sizes) {
    tile to = {{{0}}};
    for (int i = 0; i < m->rows; i++)
        for (int j = 0; j < columns; j++) {
            bool any = false;
            for (int n = 0; n < m->columns; n++) {
                const double e = given(m->element[i][m->order[n]], sizes);
                const double term = e * t->at[m->order[n]][j];
                if (e != 0) to.at[i][j] = any ? rounded(to.at[i][j] + term, sizes) : term;
                any = any || e != 0;
            }
        }
    return to;
}

static tile turn(const tile *t) {
    tile to;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) to.at[j][i] = t->at[i][j];
    return to;
}

/* m t m^T, lines first. */
static tile transform(const matrix *m, const tile *t, bool sizes) {
    tile half = multiply(m, t, m->columns, sizes), turned = turn(&half);
    half = multiply(m, &turned, m->rows, sizes);
    return turn(&half);
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
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
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
    return transform(&G, &g, sizes);
}

static double gamma_of(int64_t roundings) {
    const double nu = (double)roundings * 0x1p-24;
    return nu / (1 - nu);
}

/* The image, or, if there is `bound`, that. */
static void compute(winograd_shape s, bool back, const real *weight, const real *from, real *to,
                    double *bound) {
    const bool sizes = bound;
    const int64_t from_height = back ? s.out_height : s.height, from_width = back ? s.out_width : s.width;
    const int64_t height = back ? s.height : s.out_height, width = back ? s.width : s.out_width;
    const int64_t terms = back ? s.outputs : s.inputs, columns = back ? s.inputs : s.outputs;
    const int64_t pad = back ? 2 - s.pad : s.pad;
    if (terms > MOST_TERMS) abort();
    for (int64_t k = 0; k < columns; k++) {
        tile u[MOST_TERMS];
        for (int64_t c = 0; c < terms; c++) u[c] = kernel(s, back, weight, c, k, sizes);
        for (int64_t line = 0; line < height; line += 2)
            for (int64_t pixel = 0; pixel < width; pixel += 2) {
                tile sum = {{{0}}};
                for (int64_t c = 0; c < terms; c++) {
                    const tile d =
                        cut(from, from_height, from_width, terms, c, line - pad, pixel - pad, 4, sizes);
                    const tile v = transform(&B_transposed, &d, sizes);
                    add_products(&sum, &v, &u[c], sizes);
                }
                /* along a line of positions first */
                const tile turned = turn(&sum), out = transform(&A_transposed, &turned, sizes);
                for (int i = 0; i < 2 && line + i < height; i++)
                    for (int j = 0; j < 2 && pixel + j < width; j++) {
                        const int64_t at = ((line + i) * width + pixel + j) * columns + k;
                        if (sizes)
                            bound[at] = gamma_of(terms + 10) * out.at[j][i];
                        else
                            to[at] = (real)out.at[j][i];
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
    const int64_t x_size = s.height * s.width * s.inputs, y_size = s.out_height * s.out_width * s.outputs;
    const int64_t tiles = rows * ((s.out_height + 1) / 2) * ((s.out_width + 1) / 2);
    for (int64_t c = 0; c < s.inputs; c++)
        for (int64_t k = 0; k < s.outputs; k++) {
            tile sum = {{{0}}};
            for (int64_t row = 0; row < rows; row++)
                for (int64_t line = 0; line < s.out_height; line += 2)
                    for (int64_t pixel = 0; pixel < s.out_width; pixel += 2) {
                        const tile d = cut(x + row * x_size, s.height, s.width, s.inputs, c, line - s.pad,
                                           pixel - s.pad, 4, sizes);
                        const tile e = cut(dy + row * y_size, s.out_height, s.out_width, s.outputs, k, line,
                                           pixel, 2, sizes);
                        const tile v = transform(&B_transposed, &d, sizes), m = transform(&A, &e, sizes);
                        add_products(&sum, &v, &m, sizes);
                    }
            const tile w = transform(&G_transposed, &sum, sizes);
            for (int u = 0; u < 3; u++)
                for (int v = 0; v < 3; v++) {
                    const int64_t at = ((u * 3 + v) * s.inputs + c) * s.outputs + k;
                    if (sizes)
                        bound[at] = gamma_of(tiles + 8) * w.at[u][v];
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
