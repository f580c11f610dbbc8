#include "layers/conv2d/conv2d_winograd.h"

#include "layers/conv2d/winograd_tile.h"

enum { PIXEL = SIDE * LANES };

/* Tiles that are computed together, and positions whose sums are in registers at a time. With AVX-512 28 sums
 * and a register of weights; with AVX2 6 sums of two registers, two of weights and one to broadcast into.
 * PREPARES: the tiles of the next run are transformed while the processor multiplies those of this one, in
 * the four registers that are left between two terms. */
#ifdef LS_FOR_AVX512
enum { RUN = 7, AT_A_TIME = 4, PREPARES = 1 };
#else
enum { RUN = 6, AT_A_TIME = 1, PREPARES = 0 };
#endif

/* --- weights ----------------------------------------------------------------------------------- */

/* G g for three vectors. */
ALWAYS_INLINE void spread(sixteen a, sixteen b, sixteen c, sixteen to[SIDE]) {
    const sixteen half = broadcast16(0.5f), ends = add16(a, c);
    to[0] = a;
    to[1] = multiply16(add16(ends, b), half);
    to[2] = multiply16(subtract16(ends, b), half);
    to[3] = c;
}

static void transform_weights(float (*w)[LANES], float *to, int64_t to_line) {
    sixteen lines[3][SIDE];
    for (int v = 0; v < 3; v++) spread(load16(w[v]), load16(w[3 + v]), load16(w[6 + v]), lines[v]);
    for (int r = 0; r < SIDE; r++) {
        sixteen line[SIDE];
        spread(lines[0][r], lines[1][r], lines[2][r], line);
        for (int q = 0; q < SIDE; q++) store16(to + r * to_line + q * LANES, line[q]);
    }
}

void LS_NAME(ls_conv2d_winograd_weights)(const ls_conv2d_args *a, bool transposed, float *to) {
    const float *weight = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    const int64_t by_tap = a->inputs * a->outputs;
    for (int64_t column = 0; column < columns; column += LANES, to += terms * POSITIONS * LANES)
        for (int64_t t = 0; t < terms; t++) {
            const int64_t n = smaller(LANES, columns - column);
            float w[9][LANES] = {{0}};
            for (int tap = 0; tap < 9; tap++)
                for (int64_t j = 0; j < n; j++)
                    w[transposed ? 8 - tap : tap][j] =
                        weight[tap * by_tap + t * by_term + (column + j) * by_column];
            transform_weights(w, to + t * PIXEL, terms * PIXEL);
        }
}

/* --- tiles ------------------------------------------------------------------------------------- */

/* An image that is computed from a plane: pixel (i, j) from the 3x3 at from + i from_line + j 16. All
 * distances are in floats. */
typedef struct product {
    const float *from;
    int64_t from_line, from_group, terms;
    const float *weights;
    float *to;
    int64_t height, width, columns; /* pixels, and floats of each */
    ls_conv2d_ahead *ahead;
} product;

/* Tiles that are computed together. */
typedef struct run {
    int64_t count, line[RUN], pixel[RUN];
    int64_t from[RUN]; /* where they begin in a group of the plane */
    float *v;          /* [groups][lines of positions][RUN][positions of the line][16]: transformed */
} run;

/* Line r of positions of a tile. */
ALWAYS_INLINE void transform_line(const float *from, int64_t from_line, int r, float *to) {
    sixteen line[SIDE], done[SIDE];
    UNROLL
    for (int v = 0; v < SIDE; v++) line[v] = difference(from + v * LANES, from_line, r);
    done[0] = subtract16(line[0], line[2]);
    store16(to, done[0]);
    done[3] = subtract16(line[3], line[1]);
    store16(to + 3 * LANES, done[3]);
    done[1] = add16(line[1], line[2]);
    store16(to + LANES, done[1]);
    done[2] = subtract16(line[2], line[1]);
    store16(to + 2 * LANES, done[2]);
}

static void transform_run(const product *p, const run *t) {
    float *to = t->v;
    const float *from = p->from;
    for (int64_t c = 0; c < p->terms; c += LANES, from += p->from_group, to += SIDE * RUN * PIXEL)
        for (int64_t i = 0; i < t->count; i++)
            transform_pixels(from + t->from[i], p->from_line, to + i * PIXEL, RUN * PIXEL, LANES);
}

/* A^T m for four vectors. */
ALWAYS_INLINE void gather(sixteen a, sixteen b, sixteen c, sixteen d, sixteen to[2]) {
    to[0] = add16(add16(a, b), c);
    to[1] = add16(subtract16(b, c), d);
}

/* The products of a term. */
ALWAYS_INLINE void add_term(sixteen (*sum)[RUN], int first, int n, const float *scalar, const float *w) {
    UNROLL
    for (int q = first; q < first + AT_A_TIME; q++)
        multiply_add16(sum[q], n, scalar + q * LANES, PIXEL, load16(w + q * LANES));
}

/* Does it pay to fetch ahead at every tile that is transformed between the products, not at every group of
 * terms? The more evenly the better, for a core waits for few lines at once; but of many terms there are many
 * groups. */
ALWAYS_INLINE bool fetches_by_tile(int64_t terms) {
    return PREPARES && terms <= 2 * LANES;
}

/* The products of line r of positions of n tiles: weights [terms][positions of the line][16]. next: the run
 * whose line is transformed between them, or NULL. */
ALWAYS_INLINE void multiply_line(const product *p, const run *t, int n, int r, const run *next,
                                 const float *weights, float *to) {
    sixteen sum[SIDE][RUN];
    UNROLL
    for (int first = 0; first < SIDE; first += AT_A_TIME) {
        UNROLL
        for (int q = first; q < first + AT_A_TIME; q++) {
            UNROLL
            for (int i = 0; i < n; i++) sum[q][i] = zero16();
        }
        const float *w = weights, *from = t->v + r * RUN * PIXEL, *pixels = p->from;
        float *v = next ? next->v + r * RUN * PIXEL : NULL;
        for (int64_t left = p->terms; left > 0; left -= LANES, from += SIDE * RUN * PIXEL) {
            if (!next || !fetches_by_tile(p->terms)) ls_conv2d_fetch(p->ahead);
            const float *const end = w + smaller(LANES, left) * PIXEL;
            const float *scalar = from;
            if (next) {
                const int64_t line = p->from_line, *at = next->from, *const last = at + next->count;
                for (float *to_tile = v; at < last; to_tile += PIXEL) {
                    if (fetches_by_tile(p->terms)) ls_conv2d_fetch(p->ahead);
                    transform_line(pixels + *at++, line, r, to_tile);
                    UNROLL
                    for (int i = 0; i < 2; i++) {
                        if (w == end) continue;
                        add_term(sum, first, n, scalar, w);
                        w += PIXEL, scalar++;
                    }
                }
                pixels += p->from_group, v += SIDE * RUN * PIXEL;
            }
            for (; w < end; w += PIXEL, scalar++) add_term(sum, first, n, scalar, w);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        sixteen pair[2];
        gather(sum[0][i], sum[1][i], sum[2][i], sum[3][i], pair);
        store16(to + 2 * i * LANES, pair[0]);
        store16(to + (2 * i + 1) * LANES, pair[1]);
    }
}

/* m: [lines of positions][RUN][2][16]: one panel's products, with A from the right. */
ALWAYS_INLINE void multiply_run(const product *p, const run *t, int n, const run *next, const float *weights,
                                float *m) {
    const int64_t line = p->terms * PIXEL;
    if (PREPARES && next) {
        UNROLL
        for (int r = 0; r < SIDE; r++)
            multiply_line(p, t, n, r, next, weights + r * line, m + r * RUN * 2 * LANES);
        return;
    }
    for (int r = 0; r < SIDE; r++)
        multiply_line(p, t, n, r, NULL, weights + r * line, m + r * RUN * 2 * LANES);
}

/* The four pixels of a tile from the products, as far as they are in the image. */
static void store_tile(const product *p, const run *t, int64_t i, const float *m, int64_t k) {
    m += 2 * i * LANES;
    float *to = p->to + (t->line[i] * p->width + t->pixel[i]) * p->columns + k;
    const int64_t next_line = p->width * p->columns;
    const int64_t n = smaller(LANES, p->columns - k);
    const bool second_line = t->line[i] + 1 < p->height;
    for (int j = 0; j < 2 && t->pixel[i] + j < p->width; j++, m += LANES, to += p->columns) {
        sixteen y[2];
        gather(load16(m), load16(m + 2 * RUN * LANES), load16(m + 4 * RUN * LANES),
               load16(m + 6 * RUN * LANES), y);
        if (n == LANES) {
            store16(to, y[0]);
            if (second_line) store16(to + next_line, y[1]);
        } else {
            store16_first(to, y[0], n);
            if (second_line) store16_first(to + next_line, y[1], n);
        }
    }
}

#define RUNS_6(X) X(1) X(2) X(3) X(4) X(5) X(6)
#ifdef LS_FOR_AVX512
#define RUNS(X) RUNS_6(X) X(7)
#else
#define RUNS(X) RUNS_6(X)
#endif
#define MULTIPLY(n)                                                                                          \
    static void multiply_##n(const product *p, const run *t, const run *next, const float *weights,          \
                             float *m) {                                                                     \
        multiply_run(p, t, n, next, weights, m);                                                             \
    }
#define NAME(n) multiply_##n,
RUNS(MULTIPLY)
static void (*const multiply[RUN])(const product *p, const run *t, const run *next, const float *weights,
                                   float *m) = {RUNS(NAME)};

/* The runs that share a number of lines, as evenly as can be; the next begins at (line, pixel). */
typedef struct runs {
    int64_t line, pixel, left, count, longer; /* tiles of each; how many have one more */
} runs;

static runs runs_of(const product *p, int64_t first, int64_t last) {
    const int64_t tiles = divide_up(last - first, 2) * divide_up(p->width, 2), count = divide_up(tiles, RUN);
    return (runs){.line = first, .left = count, .count = tiles / count, .longer = tiles % count};
}

static void take_run(const product *p, runs *r, run *t) {
    t->count = r->count + (r->longer-- > 0);
    r->left--;
    for (int64_t i = 0; i < t->count; i++) {
        t->line[i] = r->line, t->pixel[i] = r->pixel;
        t->from[i] = r->line * p->from_line + r->pixel * LANES;
        r->pixel += 2;
        if (r->pixel >= p->width) r->pixel = 0, r->line += 2;
    }
}

/* Lines [first, last) of the image; those behind them end with next_last. v: of two runs, which take turns;
 * done: runs of the image so far. */
static void multiply_lines(const product *p, int64_t first, int64_t last, int64_t next_last,
                           float *const v[2], float *m, int64_t *done) {
    runs here = runs_of(p, first, last);
    run t[2] = {{.v = v[0]}, {.v = v[PREPARES]}};
    take_run(p, &here, &t[*done % 2]);
    for (bool more = true; more; ++*done) {
        const run *at = &t[*done % 2];
        run *next = &t[(*done + 1) % 2];
        more = here.left > 0;
        if (more) {
            take_run(p, &here, next);
        } else if (last < next_last) {
            runs behind = runs_of(p, last, next_last);
            take_run(p, &behind, next);
        } else {
            next = NULL;
        }
        if (!PREPARES || *done == 0) transform_run(p, at);
        const float *weights = p->weights;
        for (int64_t k = 0; k < p->columns; k += LANES, weights += p->terms * POSITIONS * LANES) {
            multiply[at->count - 1](p, at, k == 0 ? next : NULL, weights, m);
            for (int64_t i = 0; i < at->count; i++) store_tile(p, at, i, m, k);
        }
    }
}

/* --- images ------------------------------------------------------------------------------------ */

static int64_t room_for_pixels(const ls_conv2d_args *a) {
    return ls_conv2d_groups(larger(a->inputs, a->outputs)) * RUN * POSITIONS * LANES;
}

int64_t LS_NAME(ls_conv2d_winograd_room)(const ls_conv2d_args *a) {
    return (1 + PREPARES) * room_for_pixels(a) + RUN * SIDE * 2 * LANES;
}

int64_t LS_NAME(ls_conv2d_winograd_steps)(const ls_conv2d_args *a, bool transposed) {
    const int64_t width = transposed ? a->width : a->out_width,
                  height = transposed ? a->height : a->out_height;
    const int64_t lines = ls_conv2d_winograd_lines(width), across = divide_up(width, 2);
    const int64_t count = height / lines * divide_up(lines / 2 * across, RUN) +
                          divide_up(divide_up(height % lines, 2) * across, RUN); /* of runs */
    const int64_t terms = transposed ? a->outputs : a->inputs;
    const int64_t panels = ls_conv2d_groups(transposed ? a->inputs : a->outputs);
    /* by tiles in the first panel, but for the last run, which no other follows */
    const int64_t tiles = larger(0, divide_up(height, 2) * across - RUN) + 1;
    const int64_t times = fetches_by_tile(terms) ? count * (panels - 1) + tiles : count * panels;
    return times * ls_conv2d_groups(terms) * SIDE * (SIDE / AT_A_TIME);
}

void LS_NAME(ls_conv2d_winograd_multiply)(const ls_conv2d_args *a, bool transposed, ls_conv2d_winograd *p,
                                          int64_t first, int64_t last) {
    const ls_conv2d_plane plane = transposed ? plane_of_dy(a) : plane_of_x(a);
    const int64_t line = transposed ? plane.top + a->pad - 2 : 0,
                  column = transposed ? plane.left + a->pad - 2 : 0;
    const product image = {.from = p->from + line * ls_conv2d_plane_line(&plane) + column * LANES,
                           .from_line = ls_conv2d_plane_line(&plane),
                           .from_group = ls_conv2d_plane_group(&plane),
                           .terms = plane.channels,
                           .weights = p->weights,
                           .to = p->to,
                           .height = transposed ? a->height : a->out_height,
                           .width = transposed ? a->width : a->out_width,
                           .columns = transposed ? ls_conv2d_groups(a->inputs) * LANES : a->outputs,
                           .ahead = p->ahead};
    float *const v[2] = {p->room, p->room + PREPARES * room_for_pixels(a)};
    multiply_lines(&image, first, last, smaller(last + ls_conv2d_winograd_lines(image.width), image.height),
                   v, p->room + (1 + PREPARES) * room_for_pixels(a), &p->runs);
}
