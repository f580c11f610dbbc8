#include "layers/conv2d/conv2d_winograd.h"

#include "layers/conv2d/winograd_tile.h"

/* A run is the tiles whose sums of a position are in registers at a time, for PANELS times sixteen outputs; a
 * pass the runs that share the weights of a position while these are in the first cache. With AVX-512 14
 * tiles x 2 panels: 28 multiply-adds for 16 loads; x 1 where there is but one panel. With AVX2 4 tiles x 16
 * outputs: of 8 sums few are stored at once, for a store takes both units that multiply a cycle on some
 * processors; tiles of an image that whole runs do not share leave a shorter one. */
#ifdef LS_FOR_AVX512
enum { RUN = 14, PANELS = 2, RUNS = 1, WHOLE = 1 };
#else
enum { RUN = 4, PANELS = 1, RUNS = 2, WHOLE = 4 };
#endif
enum { PASS = RUNS * RUN };

/* --- weights ----------------------------------------------------------------------------------- */

void LS_NAME(ls_conv2d_winograd_weights)(const ls_conv2d_args *a, bool transposed, float *to) {
    const float *weight = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    const int64_t by_tap = a->inputs * a->outputs, step = terms * LANES;
    for (int64_t column = 0; column < columns; column += LANES, to += winograd_positions(a) * step)
        for (int64_t t = 0; t < terms; t++) {
            const int64_t n = smaller(LANES, columns - column);
            float w[9 * LANES] = {0};
            for (int tap = 0; tap < 9; tap++)
                for (int64_t j = 0; j < n; j++)
                    w[(transposed ? 8 - tap : tap) * LANES + j] =
                        weight[tap * by_tap + t * by_term + (column + j) * by_column];
            for (int tap = 0; tap < 9; tap++) store16(w + tap * LANES, factor16(load16(w + tap * LANES)));
            for (int h = 0; h < LANES; h += WIDTH)
                if (winograd_tile(a) == 4)
                    transform_weights(4, w + h, to + t * LANES + h, step);
                else
                    transform_weights(2, w + h, to + t * LANES + h, step);
        }
}

/* --- products ---------------------------------------------------------------------------------- */

/* What is computed; distances in floats. */
typedef struct product {
    const float *from; /* the first tile's first pixel of the first plane */
    int64_t from_image, from_line, from_group, terms;
    const float *weights;
    int64_t positions, position, panel; /* the last two of the weights */
    float *to;
    int64_t to_image, height, width, columns, across, tiles; /* of an image; columns: floats of a pixel */
    float *v, *m; /* [groups of terms][positions][PASS][16], [PANELS][positions][PASS][16] */
    ls_conv2d_ahead *ahead;
} product;

/* Floats between positions of v and m: a constant, since so many are written and read at once that their
 * addresses would not fit into registers. */
enum { STEP = PASS * LANES + LANES };

static int64_t group_of(int64_t positions) {
    return positions * STEP;
}

/* to [panels][..][16] = sums over the terms of v w at a position, for n tiles; w [terms][16] */
ALWAYS_INLINE void multiply(const product *p, int n, int panels, const float *v, const float *w, float *to) {
    const int64_t panel = p->panel, group = group_of(p->positions);
    sixteen sum[PANELS][RUN];
    UNROLL
    for (int k = 0; k < panels; k++) {
        UNROLL
        for (int i = 0; i < n; i++) sum[k][i] = zero16();
    }
    for (int64_t left = p->terms; left > 0; left -= LANES, v += group) {
        const float *scalar = v, *const end = v + smaller(LANES, left);
        for (; scalar < end; scalar++, w += LANES)
            if (panels == 1)
                multiply_add16(sum[0], n, scalar, LANES, load16(w));
            else
                multiply_add16_twice(sum[0], sum[PANELS - 1], n, scalar, LANES, load16(w), load16(w + panel));
    }
    UNROLL
    for (int k = 0; k < panels; k++) {
        UNROLL
        for (int i = 0; i < n; i++) store16(to + k * group + i * LANES, sum[k][i]);
    }
}

typedef void (*multiply_function)(const product *p, const float *v, const float *w, float *to);

#define MULTIPLY(panels, n)                                                                                  \
    static void multiply_##panels##_##n(const product *p, const float *v, const float *w, float *to) {       \
        multiply(p, n, panels, v, w, to);                                                                    \
    }
#define NAME(panels, n)   multiply_##panels##_##n,
#define RUNS_4(X, panels) X(panels, 1) X(panels, 2) X(panels, 3) X(panels, 4)
#ifdef LS_FOR_AVX512
#define RUNS_14(X, panels)                                                                                   \
    RUNS_4(X, panels)                                                                                        \
    X(panels, 5)                                                                                             \
    X(panels, 6)                                                                                             \
    X(panels, 7)                                                                                             \
    X(panels, 8) X(panels, 9) X(panels, 10) X(panels, 11) X(panels, 12) X(panels, 13) X(panels, 14)
RUNS_14(MULTIPLY, 1)
RUNS_14(MULTIPLY, 2)
static const multiply_function functions[PANELS][RUN] = {{RUNS_14(NAME, 1)}, {RUNS_14(NAME, 2)}};
#else
RUNS_4(MULTIPLY, 1)
static const multiply_function functions[PANELS][RUN] = {{RUNS_4(NAME, 1)}};
#endif

/* --- tiles ------------------------------------------------------------------------------------- */

typedef struct place {
    int64_t image, line, pixel; /* the first pixel */
} place;

ALWAYS_INLINE place place_of(const product *p, int t, int64_t tile) {
    const int64_t in_image = tile % p->tiles;
    return (place){tile / p->tiles, in_image / p->across * t, in_image % p->across * t};
}

/* n tiles from `first` on into v. */
ALWAYS_INLINE void transform(const product *p, int t, int64_t first, int64_t n) {
    const int64_t line = p->from_line;
    for (int64_t i = 0; i < n; i++) {
        const place at = place_of(p, t, first + i);
        const float *from = p->from + at.image * p->from_image + at.line * line + at.pixel * LANES;
        float *to = p->v + i * LANES;
        for (int64_t c = 0; c < p->terms; c += LANES, from += p->from_group, to += group_of(p->positions)) {
            UNROLL
            for (int h = 0; h < LANES; h += WIDTH) {
                UNROLL
                for (int pair = 0; pair < pairs_of(t); pair++)
                    transform_pixels(t, pair, from + h, line,
                                     to + h + line_of_pair(t, pair, 0) * (t + 2) * STEP,
                                     to + h + line_of_pair(t, pair, 1) * (t + 2) * STEP, STEP);
            }
        }
    }
}

/* Of a tile that hangs over the image, or of a group that has fewer than sixteen columns. */
static void store_part(const product *p, const float *pixels, int t, place at, int64_t columns, float *to) {
    for (int64_t i = 0; i < smaller(t, p->height - at.line); i++)
        for (int64_t j = 0; j < smaller(t, p->width - at.pixel); j++)
            store16_first(to + (i * p->width + j) * p->columns, load16(pixels + (i * t + j) * LANES),
                          columns);
}

/* The pixels of n tiles from `first` on, columns from k on, from the sums of panel `panel`. */
ALWAYS_INLINE void finish(const product *p, int t, int64_t first, int64_t n, int64_t panel, int64_t k) {
    const int64_t columns = smaller(LANES, p->columns - k);
    for (int64_t i = 0; i < n; i++) {
        const place at = place_of(p, t, first + i);
        const float *m = p->m + panel * group_of(p->positions) + i * LANES;
        float *to = p->to + at.image * p->to_image + (at.line * p->width + at.pixel) * p->columns + k;
        float pixels[16 * LANES];
        const bool whole = columns == LANES && at.line + t <= p->height && at.pixel + t <= p->width;
        float *here = whole ? to : pixels;
        const int64_t pixel = whole ? p->columns : LANES, line = whole ? p->width * p->columns : t * LANES;
        UNROLL
        for (int h = 0; h < LANES; h += WIDTH) transform_results(t, m + h, STEP, here + h, pixel, line);
        if (!whole) store_part(p, pixels, t, at, columns, to);
    }
}

/* Tiles [first, first + n), at most PASS. */
ALWAYS_INLINE void pass(const product *p, int t, int64_t first, int64_t n) {
    const int64_t positions = (t + 2) * (t + 2), panels = divide_up(p->columns, LANES);
    transform(p, t, first, n);
    for (int64_t k = 0; k < panels; k += PANELS) {
        const int64_t together = smaller(PANELS, panels - k);
        const float *w = p->weights + k * p->panel;
        for (int64_t q = 0; q < positions; q++, w += p->position)
            for (int64_t i = 0; i < n; i += RUN) {
                ls_conv2d_fetch(p->ahead);
                functions[together - 1][smaller(RUN, n - i) - 1](p, p->v + q * STEP + i * LANES, w,
                                                                 p->m + q * STEP + i * LANES);
            }
        for (int64_t panel = 0; panel < together; panel++) finish(p, t, first, n, panel, (k + panel) * LANES);
    }
}

static void pass_2(const product *p, int64_t first, int64_t n) {
    pass(p, 2, first, n);
}
static void pass_4(const product *p, int64_t first, int64_t n) {
    pass(p, 4, first, n);
}

/* --- images ------------------------------------------------------------------------------------ */

/* Tiles of each pass over so many, but for the last. */
static int64_t pass_of(int64_t tiles) {
    const int64_t even = divide_up(tiles, divide_up(tiles, PASS));
    return divide_up(even, WHOLE) * WHOLE;
}

static int64_t terms_of(const ls_conv2d_args *a, bool transposed) {
    return transposed ? a->outputs : a->inputs;
}

static int64_t v_size(const ls_conv2d_args *a, int64_t terms) {
    return ls_conv2d_groups(terms) * group_of(winograd_positions(a));
}

int64_t LS_NAME(ls_conv2d_winograd_room)(const ls_conv2d_args *a) {
    return v_size(a, larger(a->inputs, a->outputs)) + PANELS * group_of(winograd_positions(a));
}

int64_t LS_NAME(ls_conv2d_winograd_images)(const ls_conv2d_args *a, bool transposed) {
    return larger(1, PASS / winograd_tiles(a, transposed));
}

int64_t LS_NAME(ls_conv2d_winograd_steps)(const ls_conv2d_args *a, bool transposed, int64_t images) {
    const int64_t tiles = images * winograd_tiles(a, transposed), together = pass_of(tiles);
    const int64_t runs = tiles / together * divide_up(together, RUN) + divide_up(tiles % together, RUN);
    const int64_t panels = ls_conv2d_groups(transposed ? a->inputs : a->outputs);
    return runs * winograd_positions(a) * divide_up(panels, PANELS);
}

void LS_NAME(ls_conv2d_winograd_pass)(const ls_conv2d_args *a, bool transposed, ls_conv2d_winograd *w) {
    const ls_conv2d_plane plane = transposed ? plane_of_dy(a) : plane_of_x(a);
    const int64_t line = transposed ? plane.top + a->pad - 2 : 0,
                  column = transposed ? plane.left + a->pad - 2 : 0;
    const int64_t terms = terms_of(a, transposed), positions = winograd_positions(a);
    const int64_t columns = transposed ? ls_conv2d_groups(a->inputs) * LANES : a->outputs;
    const int64_t tiles = winograd_tiles(a, transposed), all = w->images * tiles;
    /* Then a position's v, for a few tiles, is read whole before its sums are written. */
    const bool in_place = columns <= PANELS * LANES && columns <= terms;
    const product p = {.from = w->from + line * ls_conv2d_plane_line(&plane) + column * LANES,
                       .from_image = ls_conv2d_plane_size(&plane),
                       .from_line = ls_conv2d_plane_line(&plane),
                       .from_group = ls_conv2d_plane_group(&plane),
                       .terms = terms,
                       .weights = w->weights,
                       .positions = positions,
                       .position = terms * LANES,
                       .panel = positions * terms * LANES,
                       .to = w->to,
                       .to_image = w->to_image,
                       .height = transposed ? a->height : a->out_height,
                       .width = transposed ? a->width : a->out_width,
                       .columns = columns,
                       .across = winograd_across(a, transposed),
                       .tiles = tiles,
                       .v = w->room,
                       .m = in_place ? w->room : w->room + v_size(a, terms),
                       .ahead = w->ahead};
    const int64_t n = smaller(pass_of(all), all - w->done);
    if (winograd_tile(a) == 4)
        pass_4(&p, w->done, n);
    else
        pass_2(&p, w->done, n);
    w->done += n;
}
