/* The register-blocked products of the dense layer, for AVX2 and AVX-512.
 *
 *     for each panel of COLUMNS columns j    weights as they lie: outputs are side by side already, and
 *                                            packing would cost as much as multiplying a few rows
 *         for each piece of DEPTH terms t    DEPTH x COLUMNS of b: 16 KB, stays in L1
 *             for each tile of ROWS rows n   ROWS x VECTORS sums in registers
 *                 for each t                 VECTORS loads of b and, for all sums of the tile, ROWS
 *                                            broadcasts of a: fewer than the load ports can do
 *
 * A tile of sums rests in out between two pieces: one accumulator for each sum. */
#include "layers/dense/dense_vector.h"

#include "layers/dense/dense_tile.h"
#include "layers/dense/dense_words.h"

enum {
    DEPTH = 4096 / COLUMNS,
    LINE = 16 /* numbers of a cache line */
};

typedef struct place {
    int64_t row, first, terms; /* first row of the tile; terms first .. first + terms - 1 of the list */
    panel panel;
    bool continued, last;
    panel next_panel;    /* what the next piece will need: .. */
    const int32_t *next; /* .. of these terms of b */
    int64_t fetches;
} place;

/* A term of b in the next piece: it comes out of farther caches or memory in fragments that no prefetcher of
 * the processor foresees. */
ALWAYS_INLINE void fetch(const ls_dense_product *p, const place *at, int64_t i) {
    const float *b = p->b + at->next[i] * p->b_term + at->next_panel.column;
    for (int64_t j = 0; j < COLUMNS; j += LINE)
        if (j < at->next_panel.columns) __builtin_prefetch(b + j);
    __builtin_prefetch(b + at->next_panel.columns - 1);
}

/* s += a[.. term i] b[term i ..] */
ALWAYS_INLINE void add_products(const ls_dense_product *p, const place *at, int64_t i, int rows, int vectors,
                                bool whole, vec s[ROWS][VECTORS]) {
    const int32_t term = p->term[at->first + i];
    const lanes some = first_lanes(smaller(LANES, at->panel.columns));
    const float *b = p->b + at->panel.column + term * p->b_term;
    /* every third row by an address of its own, those between at one and two strides from it */
    const float *third = p->a + at->row * p->a_row + term;
    vec bv[VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) bv[v] = whole ? load(b + v * LANES) : load_lanes(b, some);
    UNROLL for (int r = 0; r < rows; r++) {
        if (r > 0 && r % 3 == 0) third += 3 * p->a_row;
        if (r % 3 == 0) __asm__("" : "+r"(third));
        const vec av = broadcast(third[r % 3 * p->a_row]);
        UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(av, bv[v], s[r][v]);
    }
}

/* rows, vectors and whole are constants wherever this is called */
ALWAYS_INLINE void product_tile(const ls_dense_product *p, const place *at, int rows, int vectors,
                                bool whole) {
    const lanes some = first_lanes(smaller(LANES, at->panel.columns));
    float *out = p->out + at->row * p->out_row + at->panel.column;
    const int64_t out_row = p->out_row, n = at->terms;
    vec s[ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        const float *from = out + r * out_row + v * LANES;
        s[r][v] = !at->continued ? broadcast(0) : whole ? load(from) : load_lanes(from, some);
    }
    int64_t i = 0;
    for (int64_t k = 0; k <= at->fetches; k++) { /* a few lines at a time, or the processor waits for them */
        for (int64_t end = (k + 1) * n / (at->fetches + 1); i < end; i++)
            add_products(p, at, i, rows, vectors, whole, s);
        if (k < at->fetches) fetch(p, at, k);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        float *to = out + r * out_row + v * LANES;
        const vec sum = at->last ? add(s[r][v], broadcast(0)) : s[r][v];
        if (whole)
            store(to, sum);
        else
            store_lanes(to, some, sum);
    }
}

typedef void (*product_function)(const ls_dense_product *p, const place *at);

#define PRODUCT(rows)                                                                                        \
    static void product_whole_##rows(const ls_dense_product *p, const place *at) {                           \
        product_tile(p, at, rows, VECTORS, true);                                                            \
    }                                                                                                        \
    static void product_some_##rows(const ls_dense_product *p, const place *at) {                            \
        product_tile(p, at, rows, 1, false);                                                                 \
    }
EACH_ROWS(PRODUCT)

#define WHOLE(rows) product_whole_##rows,
#define SOME(rows)  product_some_##rows,
static const product_function product_whole[] = {EACH_ROWS(WHOLE)}, product_some[] = {EACH_ROWS(SOME)};
#undef WHOLE
#undef SOME

/* All rows by one piece; with each of their tiles a share of the next piece is fetched. */
static void multiply_piece(const ls_dense_product *p, place at) {
    const product_function *product = at.panel.whole ? product_whole : product_some;
    const int64_t tiles = tiles_of(p->rows), end = at.first + at.terms;
    const bool same_panel = end < p->terms;
    const int64_t begin = same_panel ? end : 0, column = at.panel.column + at.panel.columns;
    const int64_t ahead = same_panel || column < p->columns ? smaller(DEPTH, p->terms - begin) : 0;
    at.next_panel = same_panel ? at.panel : panel_at(column, p->columns);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t next = tile_start(i + 1, tiles, p->rows), fetched = i * ahead / tiles;
        at.row = tile_start(i, tiles, p->rows);
        at.next = p->term + begin + fetched;
        at.fetches = (i + 1) * ahead / tiles - fetched;
        product[next - at.row - 1](p, &at);
    }
}

void LS_NAME(ls_dense_multiply)(const ls_dense_product *p) {
    place at = {0};
    for (int64_t column = 0; column < p->columns; column += at.panel.columns) {
        at.panel = panel_at(column, p->columns);
        at.first = 0;
        do {
            at.terms = smaller(DEPTH, p->terms - at.first);
            at.continued = p->continued || at.first > 0;
            at.last = p->last && at.first + at.terms == p->terms;
            multiply_piece(p, at);
            at.first += at.terms;
        } while (at.first < p->terms);
    }
}
