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

/* --- weight gradient ----------------------------------------------------------------------------------- */

enum { BLOCK_TILES = (LS_DENSE_BLOCK + ROWS - 1) / ROWS };

typedef tile pending_tiles[LS_MAX_TREE_DEPTH][BLOCK_TILES];

#ifdef LS_BF16

/* Words of two rows, or of one and 0, at these inputs. */
ALWAYS_INLINE void pack_words(const float *first, const float *second, const int32_t *input, int64_t height,
                              float *packed) {
    const lanes some = first_lanes(smaller(LANES, height));
    float a[LANES] = {0}, b[LANES] = {0};             /* ROWS of them count */
    if (input[height - 1] - input[0] == height - 1) { /* side by side */
        const vec x = second ? load_lanes(second + input[0], some) : broadcast(0);
        store_lanes(packed, some, word(load_lanes(first + input[0], some), x));
        return;
    }
    for (int64_t r = 0; r < height; r++) a[r] = first[input[r]];
    for (int64_t r = 0; second && r < height; r++) b[r] = second[input[r]];
    store_lanes(packed, some, word(load(a), load(b)));
}

void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed) {
    const int64_t tiles = tiles_of(inputs), all_rows = ls_shards_rows(shards);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t begin = tile_start(i, tiles, inputs), height = tile_start(i + 1, tiles, inputs) - begin;
        for (int s = 0; s < shards->count; s++) {
            const int64_t start = shards->start[s], n = shards->start[s + 1] - start;
            const float *row = x + start * x_row;
            float *to = packed + begin * all_rows + start * height;
            for (int64_t r = 0; r < n; r += LS_DENSE_WORD, row += LS_DENSE_WORD * x_row, to += height)
                pack_words(row, r + 1 < n ? row + x_row : NULL, input + begin, height, to);
        }
    }
}

#else

void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed) {
    const int64_t rows = ls_shards_rows(shards);
    const int64_t tiles = tiles_of(inputs);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t begin = tile_start(i, tiles, inputs), height = tile_start(i + 1, tiles, inputs) - begin;
        const float *from = x + input[begin];
        if (input[begin + height - 1] - input[begin] == height - 1) { /* side by side */
            const lanes some = first_lanes(smaller(LANES, height));
            for (int64_t row = 0; row < rows; row++, from += x_row, packed += height)
                store_lanes(packed, some, load_lanes(from, some));
            continue;
        }
        for (int64_t row = 0; row < rows; row++, packed += height)
            for (int64_t r = 0; r < height; r++) packed[r] = x[row * x_row + input[begin + r]];
    }
}

#endif

/* A shard's sum for one tile, merged down with what is pending above it. */
typedef struct leaf {
    const float *x, *dy; /* x [n][rows of the tile], dy dy_row elements apart */
    int64_t n, dy_row;
    lanes some;
    tile *to; /* where the sum goes: pending[depth][tile]; those to merge with lie BLOCK_TILES below each */
    int merges;
} leaf;

ALWAYS_INLINE void leaf_tile(const leaf *l, int rows, int vectors, bool whole) {
    vec s[ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] = broadcast(0);
    const float *x = l->x, *dy = l->dy;
    for (int64_t i = 0; i < l->n; i++, x += rows, dy += l->dy_row) {
        vec b[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) b[v] =
            whole ? load(dy + v * LANES) : load_lanes(dy, l->some);
        UNROLL for (int r = 0; r < rows; r++) {
            const vec a = broadcast(x[r]);
            UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(a, b[v], s[r][v]);
        }
    }
    tile *to = l->to;
    for (int m = 0; m < l->merges; m++) {
        to -= BLOCK_TILES;
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] =
            add(to->v[r][v], s[r][v]);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) to->v[r][v] = s[r][v];
}

typedef void (*leaf_function)(const leaf *l);

#define LEAF(rows)                                                                                           \
    static void leaf_whole_##rows(const leaf *l) {                                                           \
        leaf_tile(l, rows, VECTORS, true);                                                                   \
    }                                                                                                        \
    static void leaf_some_##rows(const leaf *l) {                                                            \
        leaf_tile(l, rows, 1, false);                                                                        \
    }
EACH_ROWS(LEAF)

#define WHOLE(rows) leaf_whole_##rows,
#define SOME(rows)  leaf_some_##rows,
static const leaf_function leaf_whole[] = {EACH_ROWS(WHOLE)}, leaf_some[] = {EACH_ROWS(SOME)};

static void store_block(const ls_dense_outer *o, const panel *p, const tile *sums) {
    const int64_t tiles = tiles_of(o->inputs);
    const lanes some = first_lanes(smaller(LANES, p->columns));
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t begin = tile_start(i, tiles, o->inputs), end = tile_start(i + 1, tiles, o->inputs);
        for (int64_t c = begin; c < end; c++) {
            float *to = o->dw + o->input[c] * o->outputs + p->column;
            const vec *v = sums[i].v[c - begin];
            if (!p->whole) {
                store_lanes(to, some, v[0]);
                continue;
            }
            for (int k = 0; k < VECTORS; k++) store(to + k * LANES, v[k]);
        }
    }
}

/* How many words hold so many rows. */
static int64_t words_of(int64_t rows) {
#ifdef LS_BF16
    return ls_dense_words(rows);
#else
    return rows;
#endif
}

void LS_NAME(ls_dense_outer_products)(const ls_dense_outer *o) {
    const int64_t tiles = tiles_of(o->inputs), all_rows = ls_shards_rows(o->shards);
    pending_tiles pending;
    panel p;
    for (int64_t column = 0; column < o->outputs; column += p.columns) {
        p = panel_at(column, o->outputs);
        const leaf_function *function = p.whole ? leaf_whole : leaf_some;
        int depth = 0;
        for (int shard = 0; shard < o->node->count; shard++) {
            const int64_t *start = &o->shards->start[o->node->first - o->shards->first + shard];
            const int merges = ls_tree_merges(shard);
            for (int64_t i = 0; i < tiles; i++) {
                const int64_t begin = tile_start(i, tiles, o->inputs);
                const int64_t height = tile_start(i + 1, tiles, o->inputs) - begin;
                const leaf l = {.x = o->x + begin * all_rows + start[0] * height,
                                .dy = o->dy + start[0] * o->outputs + column,
                                .n = words_of(start[1] - start[0]),
                                .dy_row = o->outputs,
                                .some = first_lanes(smaller(LANES, p.columns)),
                                .to = &pending[depth][i],
                                .merges = merges};
                function[height - 1](&l);
            }
            depth += 1 - merges;
        }
        store_block(o, &p, pending[0]);
    }
}
