/* The weight gradient of the dense layer, for AVX2 and AVX-512: sums of products of rows of x and dy, shard
 * by shard, and the tree over the shards.
 *
 *     for each panel of COLUMNS columns of dy      packed: rows side by side, in whole vectors
 *         for each block of BLOCK_TILES tiles      ROWS inputs in each
 *             for each group of LEAVES shards      a subtree; its part of the panel, 8 KB where
 *                                                  shards have 16 rows, stays in L1
 *                 for each tile of the block       ROWS x VECTORS sums in registers: ROWS / LEAVES
 *                                                  inputs of all shards of the group at a time, row
 *                                                  by row, then the group's tree
 *
 * A shard of 16 rows is over after 400 cycles, and then its sums would have to be stored and merged with
 * those of others. With several shards in registers the lower levels of the tree are additions of registers,
 * and of stores and merges in memory a LEAVES-th is left. Sums that wait for their neighbours in the tree
 * stay in L1: a block of tiles, 6 KB, for each level. Callers give blocks of inputs whose rows of dw stay in
 * L2, since neighbouring panels share lines of them. */
#include "layers/dense/dense_vector.h"

#include "layers/dense/dense_tile.h"
#include "layers/dense/dense_words.h"

enum { BLOCK_TILES = 48 / ROWS, LINE = 16 /* numbers of a cache line */ };

typedef struct tile {
    vec v[ROWS][VECTORS];
} tile;

/* --- packing ------------------------------------------------------------------------------------------- */

#ifdef LS_BF16

/* Words of two rows, or of one and 0, at these inputs. */
ALWAYS_INLINE void pack_words(const float *first, const float *second, const int32_t *input, int64_t height,
                              float *packed) {
    const lanes some = first_lanes(smaller(LANES, height));
    float a[LANES] = {0}, b[LANES] = {0};             /* ROWS of them count */
    if (input[height - 1] - input[0] == height - 1) { /* side by side */
        const vec x = second ? load_lanes(second + input[0], some) : broadcast(0);
        store_lanes(packed, first_lanes(ROWS), word(load_lanes(first + input[0], some), x));
        return;
    }
    for (int64_t r = 0; r < height; r++) a[r] = first[input[r]];
    for (int64_t r = 0; second && r < height; r++) b[r] = second[input[r]];
    store_lanes(packed, first_lanes(ROWS), word(load(a), load(b)));
}

#endif

/* Tile by tile, [words of the shard][ROWS] behind one another at the rows of the shards; beyond the last
 * input 0. */
void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed) {
    const int64_t rows = ls_shards_rows(shards);
    for (; inputs > 0; inputs -= ROWS, input += ROWS, packed += rows * ROWS) {
        const int64_t height = smaller(ROWS, inputs);
#ifdef LS_BF16
        for (int s = 0; s < shards->count; s++) {
            const int64_t start = shards->start[s], n = shards->start[s + 1] - start;
            const float *row = x + start * x_row;
            float *to = packed + start * ROWS;
            for (int64_t r = 0; r < n; r += LS_DENSE_WORD, row += LS_DENSE_WORD * x_row, to += ROWS)
                pack_words(row, r + 1 < n ? row + x_row : NULL, input, height, to);
        }
#else
        float *to = packed;
        const float *from = x;
        if (input[height - 1] - input[0] == height - 1) { /* side by side */
            const lanes some = first_lanes(height), whole = first_lanes(ROWS);
            for (int64_t n = 0; n < rows; n++, from += x_row, to += ROWS)
                store_lanes(to, whole, load_lanes(from + input[0], some));
            continue;
        }
        for (int64_t n = 0; n < rows; n++, from += x_row, to += ROWS) {
            for (int64_t r = 0; r < height; r++) to[r] = from[input[r]];
            for (int64_t r = height; r < ROWS; r++) to[r] = 0;
        }
#endif
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

static int64_t width_of(const panel *p) {
    return p->whole ? COLUMNS : LANES;
}

/* Panel by panel: [all rows][COLUMNS], and the columns that are left in panels of one vector, beyond the last
 * column 0. The one that begins at column c begins at all_rows * c. */
void LS_NAME(ls_dense_pack_panels)(const float *dy, int64_t rows, int64_t outputs, int64_t all_rows,
                                   int64_t first_row, float *packed) {
    panel p;
    for (int64_t column = 0; column < outputs; column += p.columns) {
        p = panel_at(column, outputs);
        const lanes some = first_lanes(smaller(LANES, p.columns));
        const float *from = dy + column;
        float *to = packed + all_rows * column + first_row * width_of(&p);
        for (int64_t n = 0; n < rows; n++, from += outputs, to += width_of(&p)) {
            store(to, load_lanes(from, some));
            for (int v = 1; v < VECTORS && p.whole; v++) store(to + v * LANES, load(from + v * LANES));
        }
    }
}

/* --- sums ---------------------------------------------------------------------------------------------- */

/* Shards side by side, for one tile. */
typedef struct group {
    const float *x[4], *dy[4]; /* of each leaf [words][ROWS], [words][vectors] */
    int64_t words[4], common;  /* the least of them */
    int64_t rows;              /* of the tile that count */
    tile *to;   /* where the sum goes: pending[depth][tile]; those to merge with lie BLOCK_TILES below each */
    int merges; /* of the group's sum */
} group;

/* The sums of one leaf. They have names of their own, since gcc keeps only small arrays in registers. */
typedef vec leaf_sums[ROWS][VECTORS];

ALWAYS_INLINE void clear(leaf_sums s, int rows, int vectors) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] = broadcast(0);
}

/* s += x[word]^T dy[word] */
ALWAYS_INLINE void add_products(const group *g, int leaf, int64_t word, int first, leaf_sums s, int rows,
                                int vectors) {
    const float *x = g->x[leaf] + word * ROWS + first, *dy = g->dy[leaf] + word * vectors * LANES;
    vec b[VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) b[v] = keep(load(dy + v * LANES));
    UNROLL for (int r = 0; r < rows; r++) {
        const vec a = broadcast(x[r]);
        UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(a, b[v], s[r][v]);
    }
}

/* The words that the shortest leaf does not have. */
ALWAYS_INLINE void add_rest(const group *g, int leaf, int first, leaf_sums s, int rows, int vectors) {
    for (int64_t i = g->common; i < g->words[leaf]; i++) add_products(g, leaf, i, first, s, rows, vectors);
}

/* s = s + right */
ALWAYS_INLINE void merge(leaf_sums s, leaf_sums right, int rows, int vectors) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] =
        add(s[r][v], right[r][v]);
}

/* Inputs `first` .. `first + ROWS / leaves - 1` of the tile. */
ALWAYS_INLINE void group_sums(const group *g, int first, int leaves, int vectors) {
    const int rows = ROWS / leaves;
    leaf_sums a, b, c, d;
    clear(a, rows, vectors);
    if (leaves > 1) clear(b, rows, vectors);
    if (leaves > 2) {
        clear(c, rows, vectors);
        clear(d, rows, vectors);
    }
    for (int64_t i = 0; i < g->common; i++) {
        add_products(g, 0, i, first, a, rows, vectors);
        if (leaves > 1) add_products(g, 1, i, first, b, rows, vectors);
        if (leaves > 2) {
            add_products(g, 2, i, first, c, rows, vectors);
            add_products(g, 3, i, first, d, rows, vectors);
        }
    }
    if (leaves > 1) {
        add_rest(g, 0, first, a, rows, vectors);
        add_rest(g, 1, first, b, rows, vectors);
        merge(a, b, rows, vectors);
    }
    if (leaves > 2) {
        add_rest(g, 2, first, c, rows, vectors);
        add_rest(g, 3, first, d, rows, vectors);
        merge(c, d, rows, vectors);
        merge(a, c, rows, vectors);
    }
    tile *to = g->to;
    for (int m = 0; m < g->merges; m++) {
        to -= BLOCK_TILES;
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) a[r][v] =
            add(to->v[first + r][v], a[r][v]);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) to->v[first + r][v] =
        a[r][v];
}

/* leaves and vectors are constants wherever this is called */
ALWAYS_INLINE void group_tile(const group *g, int leaves, int vectors) {
    for (int first = 0; first < g->rows; first += ROWS / leaves) group_sums(g, first, leaves, vectors);
}

typedef void (*group_function)(const group *g);

#define GROUP(leaves)                                                                                        \
    static void group_whole_##leaves(const group *g) {                                                       \
        group_tile(g, leaves, VECTORS);                                                                      \
    }                                                                                                        \
    static void group_some_##leaves(const group *g) {                                                        \
        group_tile(g, leaves, 1);                                                                            \
    }
EACH_LEAVES(GROUP)

/* [whole][log2 of the leaves] */
#define WHOLE(leaves) group_whole_##leaves,
#define SOME(leaves)  group_some_##leaves,
static const group_function functions[2][3] = {{EACH_LEAVES(SOME)}, {EACH_LEAVES(WHOLE)}};

/* These rows of dw will be stored soon: they come out of farther caches in fragments that no prefetcher of
 * the processor foresees. */
static void fetch_dw(const ls_dense_outer *o, const panel *p, int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
        const float *to = o->dw + o->input[c] * o->outputs + p->column;
        for (int64_t j = 0; j < p->columns; j += LINE) __builtin_prefetch(to + j, 1);
        __builtin_prefetch(to + p->columns - 1, 1);
    }
}

static void store_tile(const ls_dense_outer *o, const panel *p, int64_t begin, int64_t height,
                       const tile *sums) {
    const lanes some = first_lanes(smaller(LANES, p->columns));
    for (int64_t r = 0; r < height; r++) {
        float *to = o->dw + o->input[begin + r] * o->outputs + p->column;
        if (!p->whole) {
            store_lanes(to, some, sums->v[r][0]);
            continue;
        }
        for (int v = 0; v < VECTORS; v++) store(to + v * LANES, sums->v[r][v]);
    }
}

/* `tiles` tiles of inputs from `begin` by one panel. */
static void sum_block(const ls_dense_outer *o, const int64_t *start, const panel *p, int64_t begin,
                      int64_t tiles) {
    tile pending[LS_MAX_TREE_DEPTH][BLOCK_TILES];
    const int leaves = o->node->count < LEAVES ? o->node->count : LEAVES;
    const int groups = o->node->count / leaves;
    const int64_t all_rows = ls_shards_rows(o->shards);
    const group_function function = functions[p->whole][__builtin_ctz((unsigned)leaves)];
    int depth = 0;
    for (int i = 0; i < groups; i++) {
        const int64_t *at = start + i * leaves;
        group g = {.common = INT64_MAX, .merges = ls_tree_merges(i)};
        for (int l = 0; l < leaves; l++) {
            g.x[l] = o->x + begin * all_rows + at[l] * ROWS;
            g.dy[l] = o->dy + p->column * all_rows + at[l] * width_of(p);
            g.words[l] = words_of(at[l + 1] - at[l]);
            g.common = smaller(g.common, g.words[l]);
        }
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t first = begin + t * ROWS;
            g.rows = smaller(ROWS, o->inputs - first);
            g.to = &pending[depth][t];
            if (i == groups - 1) fetch_dw(o, p, first, first + g.rows);
            function(&g);
            for (int l = 0; l < leaves; l++) g.x[l] += ROWS * all_rows;
        }
        depth += 1 - g.merges;
    }
    for (int64_t t = 0; t < tiles; t++)
        store_tile(o, p, begin + t * ROWS, smaller(ROWS, o->inputs - begin - t * ROWS), &pending[0][t]);
}

void LS_NAME(ls_dense_outer_products)(const ls_dense_outer *o) {
    const int64_t *start = &o->shards->start[o->node->first - o->shards->first];
    const int64_t tiles = tiles_of(o->inputs);
    panel p;
    for (int64_t column = 0; column < o->outputs; column += p.columns) {
        p = panel_at(column, o->outputs);
        for (int64_t t = 0; t < tiles; t += BLOCK_TILES)
            sum_block(o, start, &p, t * ROWS, smaller(BLOCK_TILES, tiles - t));
    }
}
