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
} place;

/* rows, vectors and whole are constants wherever this is called */
ALWAYS_INLINE void product_tile(const ls_dense_product *p, const place *at, int rows, int vectors,
                                bool whole) {
    const lanes some = first_lanes(smaller(LANES, at->panel.columns));
    const float *a = p->a + at->row * p->a_row;
    const float *b = p->b + at->panel.column;
    float *out = p->out + at->row * p->out_row + at->panel.column;
    const int32_t *term = p->term + at->first;
    const int64_t a_row = p->a_row, a_three = 3 * a_row, b_term = p->b_term, out_row = p->out_row,
                  n = at->terms;
    vec s[ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        const float *from = out + r * out_row + v * LANES;
        s[r][v] = !at->continued ? broadcast(0) : whole ? load(from) : load_lanes(from, some);
    }
    for (int64_t i = 0; i < n; i++) {
        const float *bt = b + term[i] * b_term;
        /* every third row by an address of its own, those between at one and two strides from it */
        const float *third = a + term[i];
        vec bv[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) bv[v] = whole ? load(bt + v * LANES) : load_lanes(bt, some);
        UNROLL for (int r = 0; r < rows; r++) {
            if (r > 0 && r % 3 == 0) third += a_three;
            if (r % 3 == 0) __asm__("" : "+r"(third));
            const vec av = broadcast(third[r % 3 * a_row]);
            UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(av, bv[v], s[r][v]);
        }
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

/* Terms [first, last) of b at these columns, which the next piece will need: it comes out of farther caches
 * in fragments that no prefetcher of the processor foresees. */
static void fetch(const ls_dense_product *p, int64_t column, int64_t first, int64_t last) {
    const int64_t columns = smaller(COLUMNS, p->columns - column);
    for (int64_t i = first; i < last; i++) {
        const float *b = p->b + p->term[i] * p->b_term + column;
        for (int64_t j = 0; j < columns; j += LINE) __builtin_prefetch(b + j);
        __builtin_prefetch(b + columns - 1);
    }
}

/* All rows by one piece, and with each of their tiles a share of the next piece is fetched. */
static void multiply_piece(const ls_dense_product *p, place at) {
    const product_function *product = at.panel.whole ? product_whole : product_some;
    const int64_t tiles = tiles_of(p->rows), end = at.first + at.terms;
    const bool same_panel = end < p->terms;
    const int64_t column = same_panel ? at.panel.column : at.panel.column + at.panel.columns;
    const int64_t begin = same_panel ? end : 0;
    const int64_t ahead = column < p->columns ? smaller(DEPTH, p->terms - begin) : 0;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t next = tile_start(i + 1, tiles, p->rows);
        at.row = tile_start(i, tiles, p->rows);
        fetch(p, column, begin + i * ahead / tiles, begin + (i + 1) * ahead / tiles);
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
