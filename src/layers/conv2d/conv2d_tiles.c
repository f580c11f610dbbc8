#include "layers/conv2d/conv2d_tiles.h"

#include "layers/conv2d/sixteen.h"

enum { LANES = LS_CONV2D_LANES, TAPS = LS_CONV2D_TILE_TAPS };

/* --- forward and input gradient ----------------------------------------------------------------
 *
 * A tile is RUNS x RUN pixels: RUNS places, from each of which RUN neighbours. With AVX-512 28 sums and a
 * register of weights take 29 of the 32 registers, and a pixel comes from memory by the multiplication
 * itself: 28 multiply-adds, one a cycle, for 29 loads. With AVX2 6 pixels of two registers, two of weights
 * and one to broadcast into take 15 of 16: 12 multiply-adds in 6 cycles for 8 loads; every pixel has a place
 * of its own, so that any six make a tile. */

#ifdef LS_FOR_AVX512
enum { RUNS = LS_CONV2D_TILE_LINES, RUN = LS_CONV2D_TILE_PIXELS };
#else
enum { RUNS = 6, RUN = 1 };
#endif

typedef struct tile {
    const ls_conv2d_product *product;
    int64_t from[RUNS], to[RUNS]; /* where the runs begin */
} tile;

/* The terms of a step for runs [first, last), of each pixels [left, right). */
ALWAYS_INLINE void add_terms(sixteen (*sum)[RUN], const float *const *from, const float *w, int64_t count,
                             int first, int last, int left, int right) {
    for (int64_t c = 0; c < count; c++) {
        const sixteen weights = load16(w + c * LANES);
        UNROLL
        for (int i = first; i < last; i++)
            multiply_add16(sum[i] + left, right - left, from[i] + left * LANES + c, LANES, weights);
    }
}

/* skipping: leave out what the steps say. */
ALWAYS_INLINE void compute(const tile *t, int runs, int run, bool skipping) {
    const ls_conv2d_product *p = t->product;
    sixteen sum[RUNS][RUN];
    UNROLL
    for (int i = 0; i < runs; i++) {
        UNROLL
        for (int r = 0; r < run; r++) sum[i][r] = zero16();
    }
    for (const ls_conv2d_step *step = p->step; step < p->step + p->steps; step++) {
        const float *w = p->weights + step->weights, *from[RUNS];
        ls_conv2d_fetch(p->ahead);
        UNROLL
        for (int i = 0; i < runs; i++) from[i] = p->from + step->from + t->from[i];
        const int pixels_only = LS_CONV2D_SKIP_FIRST_PIXEL | LS_CONV2D_SKIP_LAST_PIXEL; /* of a single line */
        switch (skipping ? step->skip & (runs > 1 ? ~0 : pixels_only) : 0) {
#define CASE(skip, first, last, left, right)                                                                 \
    case skip:                                                                                               \
        add_terms(sum, from, w, step->count, first, last, left, right);                                      \
        break;
#define CASES(lines, first, last)                                                                            \
    CASE(lines, first, last, 0, run)                                                                         \
    CASE(lines | LS_CONV2D_SKIP_FIRST_PIXEL, first, last, 1, run)                                            \
    CASE(lines | LS_CONV2D_SKIP_LAST_PIXEL, first, last, 0, run - 1)
            CASES(0, 0, runs)
            CASES(LS_CONV2D_SKIP_FIRST_LINE, 1, runs)
            CASES(LS_CONV2D_SKIP_LAST_LINE, 0, runs - 1)
#undef CASES
#undef CASE
        }
    }
    UNROLL
    for (int i = 0; i < runs; i++) {
        UNROLL
        for (int r = 0; r < run; r++) {
            float *to = p->to + t->to[i] + r * p->to_pixel;
            if (p->columns == LANES)
                store16(to, sum[i][r]);
            else
                store16_first(to, sum[i][r], p->columns);
        }
    }
}

typedef void (*tile_function)(const tile *t);

#define TILE(runs, run)                                                                                      \
    static void tile_##runs##_##run(const tile *t) {                                                         \
        compute(t, runs, run, false);                                                                        \
    }

#ifdef LS_FOR_AVX512

#define TILES_7(X, n)  X(n, 1) X(n, 2) X(n, 3) X(n, 4) X(n, 5) X(n, 6) X(n, 7)
#define TILES_9(X, n)  TILES_7(X, n) X(n, 8) X(n, 9)
#define TILES_14(X, n) TILES_9(X, n) X(n, 10) X(n, 11) X(n, 12) X(n, 13) X(n, 14)
#define TILES_28(X, n)                                                                                       \
    TILES_14(X, n)                                                                                           \
    X(n, 15)                                                                                                 \
    X(n, 16)                                                                                                 \
    X(n, 17)                                                                                                 \
    X(n, 18) X(n, 19) X(n, 20) X(n, 21) X(n, 22) X(n, 23) X(n, 24) X(n, 25) X(n, 26) X(n, 27) X(n, 28)
#define NAME(runs, run) tile_##runs##_##run,

TILES_28(TILE, 1)
TILES_14(TILE, 2)
TILES_9(TILE, 3)
TILES_7(TILE, 4)

static const tile_function tiles[RUNS][RUN] = {
    {TILES_28(NAME, 1)}, {TILES_14(NAME, 2)}, {TILES_9(NAME, 3)}, {TILES_7(NAME, 4)}};

/* Of lines of 28, 14 and 7 pixels, where it pays. */
#define SKIPPING(runs, run)                                                                                  \
    static void skipping_##runs##_##run(const tile *t) {                                                     \
        compute(t, runs, run, true);                                                                         \
    }
SKIPPING(1, 28)
SKIPPING(2, 14)
SKIPPING(3, 7)
SKIPPING(4, 7)

/* For whole lines. */
static tile_function function_for(int64_t lines, int64_t pixels) {
    if (pixels == 28) return skipping_1_28;
    if (pixels == 14 && lines == 2) return skipping_2_14;
    if (pixels == 7 && lines == 3) return skipping_3_7;
    if (pixels == 7 && lines == 4) return skipping_4_7;
    return tiles[lines - 1][pixels - 1];
}

void LS_NAME(ls_conv2d_multiply)(const ls_conv2d_product *p, int64_t lines, int64_t pixels) {
    tile t = {.product = p};
    if (pixels <= RUN) {
        for (int64_t i = 0; i < lines; i++) t.from[i] = i * p->from_line, t.to[i] = i * p->to_line;
        function_for(lines, pixels)(&t);
        return;
    }
    for (int64_t left = (pixels + RUN - 1) / RUN, done = 0, n; left > 0; left--, done += n) {
        n = (pixels - done + left - 1) / left;
        t.from[0] = done * LANES, t.to[0] = done * p->to_pixel;
        tiles[0][n - 1](&t);
    }
}

#else

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
static const tile_function tiles[RUNS] = {tile_1_1, tile_2_1, tile_3_1, tile_4_1, tile_5_1, tile_6_1};

void LS_NAME(ls_conv2d_multiply)(const ls_conv2d_product *p, int64_t lines, int64_t pixels) {
    tile t = {.product = p};
    int64_t line = 0, pixel = 0;
    for (int64_t total = lines * pixels, left = (total + RUNS - 1) / RUNS, n; left > 0; left--, total -= n) {
        n = (total + left - 1) / left;
        for (int64_t i = 0; i < n; i++) {
            t.from[i] = line * p->from_line + pixel * LANES;
            t.to[i] = line * p->to_line + pixel * p->to_pixel;
            if (++pixel == pixels) pixel = 0, line++;
        }
        tiles[n - 1](&t);
    }
}

#endif

/* --- weight gradient ---------------------------------------------------------------------------
 *
 * A tile is taps x channels rows of sums: with AVX-512 at most 3 x 8 = 24 of one register, 24 multiply-adds
 * for 25 loads; with AVX2 at most 6 of two, 12 multiply-adds in 6 cycles for 8 loads. */

#ifdef LS_FOR_AVX512
enum { CHANNELS = 8 };
#define TILE_CHANNELS(taps) 8
#else
enum { CHANNELS = 6 };
#define TILE_CHANNELS(taps) (6 / (taps))
#endif

enum { NEXT = LS_PAIRS ? 2 : 1 }; /* pixels of x' to those of a step */

/* The products of the pixel at j for taps [first, last). */
ALWAYS_INLINE void add_pixel(sixteen (*sum)[CHANNELS], int first, int last, int channels,
                             const float *const *from, const float *dy, int64_t j) {
    const sixteen d = load16(dy + j);
    UNROLL
    for (int t = first; t < last; t++) multiply_add16(sum[t], channels, from[t] + j * NEXT, 1, d);
}

/* The sums of `taps` x `channels` from memory. */
ALWAYS_INLINE void load_sums(sixteen (*sum)[CHANNELS], int taps, int channels, const float *from,
                             int64_t tap) {
    UNROLL
    for (int t = 0; t < taps; t++) {
        UNROLL
        for (int c = 0; c < channels; c++) sum[t][c] = load16(from + t * tap + c * LANES);
    }
}

/* Lines of one image. */
ALWAYS_INLINE void add_lines(const ls_conv2d_gradient *g, int taps, int channels, int64_t image) {
    sixteen sum[TAPS][CHANNELS];
    if (g->first) {
        UNROLL
        for (int t = 0; t < taps; t++) {
            UNROLL
            for (int c = 0; c < channels; c++) sum[t][c] = zero16();
        }
    } else {
        load_sums(sum, taps, channels, g->waiting, g->sums_tap);
    }
    for (int64_t i = 0; i < g->lines; i++) {
        const float *dy = g->dy + image * g->dy_image + i * g->dy_line;
        const int64_t at = image * g->from_image + i * g->from_line;
        const float *from[TAPS];
        UNROLL
        for (int t = 0; t < taps; t++) from[t] = g->from[t] + at;
        const int64_t end = g->pixels * LANES;
        const int64_t first = taps == TAPS && g->skip_first ? LANES : 0;
        const int64_t last = taps == TAPS && g->skip_last ? end - LANES : end;
        if (first > 0) add_pixel(sum, 1, taps, channels, from, dy, 0);
        for (int64_t j = first; j < last; j += LANES) add_pixel(sum, 0, taps, channels, from, dy, j);
        if (last < end) add_pixel(sum, 0, taps - 1, channels, from, dy, last);
    }
    float *to = g->last ? g->sums : g->waiting;
    UNROLL
    for (int t = 0; t < taps; t++) {
        UNROLL
        for (int c = 0; c < channels; c++) {
            float *p = to + t * g->sums_tap + c * LANES;
            store16(p, g->last ? add16(load16(p), sum[t][c]) : sum[t][c]);
        }
    }
}

ALWAYS_INLINE void add_pixels(const ls_conv2d_gradient *g, int taps, int channels) {
    for (int64_t n = 0; n < g->images; n++) add_lines(g, taps, channels, n);
}

typedef void (*gradient_function)(const ls_conv2d_gradient *g);

#define GRADIENT(taps, channels)                                                                             \
    static void gradient_##taps##_##channels(const ls_conv2d_gradient *g) {                                  \
        add_pixels(g, taps, channels);                                                                       \
    }
#define GRADIENT_NAME(taps, channels) gradient_##taps##_##channels,
#define ROWS_2(X, n)                  X(n, 1) X(n, 2)
#define ROWS_3(X, n)                  ROWS_2(X, n) X(n, 3)
#define ROWS_6(X, n)                  ROWS_3(X, n) X(n, 4) X(n, 5) X(n, 6)
#define ROWS_8(X, n)                  ROWS_6(X, n) X(n, 7) X(n, 8)

#ifdef LS_FOR_AVX512
ROWS_8(GRADIENT, 1)
ROWS_8(GRADIENT, 2)
ROWS_8(GRADIENT, 3)
static const gradient_function gradients[TAPS][CHANNELS] = {
    {ROWS_8(GRADIENT_NAME, 1)}, {ROWS_8(GRADIENT_NAME, 2)}, {ROWS_8(GRADIENT_NAME, 3)}};
#else
ROWS_6(GRADIENT, 1)
ROWS_3(GRADIENT, 2)
ROWS_2(GRADIENT, 3)
static const gradient_function gradients[TAPS][CHANNELS] = {
    {ROWS_6(GRADIENT_NAME, 1)}, {ROWS_3(GRADIENT_NAME, 2)}, {ROWS_2(GRADIENT_NAME, 3)}};
#endif

void LS_NAME(ls_conv2d_add_gradient)(const ls_conv2d_gradient *g) {
    ls_conv2d_gradient part = *g;
    const int64_t most = TILE_CHANNELS(g->taps);
    for (int64_t left = (g->channels + most - 1) / most, done = 0, n; left > 0; left--, done += n) {
        n = (g->channels - done + left - 1) / left;
        part.sums = g->sums + done * LANES;
        part.waiting = g->waiting + done * LANES;
        for (int t = 0; t < g->taps; t++) part.from[t] = g->from[t] + done;
        gradients[g->taps - 1][n - 1](&part);
    }
}
