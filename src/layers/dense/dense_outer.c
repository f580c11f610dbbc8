/* The weight gradient of the dense layer, for AVX2 and AVX-512: sums of products of rows of x and dy, shard
 * by shard, and the tree over the shards.
 *
 *     for each panel of COLUMNS columns of dy      packed, of all rows: 16 KB of 128 rows, in L1 or L2
 *         for each tile of ROWS inputs             packed as well
 *             for each subtree of 16 shards        or 4, or 1
 *                 for each of them, depth first    ROWS x VECTORS sums in registers, row by row
 *
 * A shard of 16 rows is over after some 200 cycles, and then its sums are merged with those of others, which wait
 * in L1. With subtrees unrolled it is known where, and no branch has to be foreseen.
 *
 * Callers give blocks of inputs whose rows of dw stay in L2, since neighbouring panels share lines of them. */
#include "layers/dense/dense_vector.h"

#include "core/finite.h"
#include "layers/dense/dense_tile.h"
#include "layers/dense/dense_words.h"

enum {
    PACKED = LANES == 16 ? LS_DENSE_TILE : LS_DENSE_TILE / 2, /* inputs of a tile packed together */
    AHEAD = 8                                                 /* rows fetched ahead of those packed */
};

/* Tile by tile, [words of the shard][LS_DENSE_TILE] behind one another at the rows of the shards; beyond the
 * last input 0. */
void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed) {
    const int64_t all_rows = ls_shards_rows(shards);
    for (int s = 0; s < shards->count; s++) {
        float *to = packed + shards->start[s] * LS_DENSE_TILE;
        for (int64_t n = shards->start[s]; n < shards->start[s + 1];
             n += LS_DENSE_WORD, to += LS_DENSE_TILE) {
            const bool pair = LS_PAIRS && n + 1 < shards->start[s + 1];
            const float *row = x + n * x_row, *ahead = x + smaller(n + AHEAD, all_rows - 1) * x_row;
            for (int64_t c = 0; c < inputs; c += PACKED) {
                __builtin_prefetch(ahead + input[c]);
                const int64_t some = smaller(PACKED, inputs - c);
                const vec second = pair ? gather(row + x_row, input + c, some) : broadcast(0);
                store_lanes(to + c / LS_DENSE_TILE * LS_DENSE_TILE * all_rows + c % LS_DENSE_TILE,
                            first_lanes(PACKED), word(gather(row, input + c, some), second));
            }
        }
    }
}

typedef vec tile_sums[NARROW_ROWS][VECTORS];

ALWAYS_INLINE float *row_of_dw(const ls_dense_outer *o, const panel *p, int64_t input) {
    return o->dw + o->input[input] * o->outputs + p->column;
}

/* A tile: inputs begin .. begin + height - 1 by a panel. */
typedef struct tile {
    const ls_dense_outer *o;
    const panel *p;
    int64_t begin, height;
    const float *x, *dy; /* of all rows, [words][LS_DENSE_TILE] and [words][width] at each shard's place */
} tile;

/* The sums of one shard, of rows start[0] to start[1]; that row of dw, if there is one, is to be stored soon.
 * rows and vectors are constants wherever this is called. */
ALWAYS_INLINE void sums_1(const tile *t, const int64_t *start, int row, int rows, int vectors, tile_sums s) {
    const float *x = t->x + start[0] * LS_DENSE_TILE, *dy = t->dy + start[0] * vectors * LANES;
    if (row < t->height) fetch(row_of_dw(t->o, t->p, t->begin + row), t->p->columns);
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] = broadcast(0);
    for (int64_t n = ls_dense_words(start[1] - start[0]); n > 0;
         n--, x += LS_DENSE_TILE, dy += vectors * LANES) {
        vec b[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) b[v] = keep(load(dy + v * LANES));
        UNROLL for (int r = 0; r < rows; r++) {
            const vec a = broadcast(x[r]);
            UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(a, b[v], s[r][v]);
        }
    }
}

/* Of a subtree of so many shards: where sums wait for their neighbours is known, and no branch depends on it. */
#define SUBTREE(shards, half)                                                                                \
    ALWAYS_INLINE void sums_##shards(const tile *t, const int64_t *start, int row, int rows, int vectors,    \
                                     tile_sums s) {                                                          \
        tile_sums left;                                                                                      \
        sums_##half(t, start, row, rows, vectors, left);                                                     \
        sums_##half(t, start + half, row + half, rows, vectors, s);                                          \
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) s[r][v] =             \
            add(left[r][v], s[r][v]);                                                                        \
    }
SUBTREE(2, 1)
SUBTREE(4, 2)
SUBTREE(8, 4)
SUBTREE(16, 8)

typedef void (*subtree_function)(const tile *t, const int64_t *start, int row, tile_sums to);

#define FUNCTION(name, shards, rows, vectors)                                                                \
    static void name(const tile *t, const int64_t *start, int row, tile_sums to) {                           \
        tile_sums s;                                                                                         \
        sums_##shards(t, start, row, rows, vectors, s);                                                      \
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) to[r][v] = s[r][v];   \
    }
FUNCTION(whole_1, 1, ROWS, VECTORS)
FUNCTION(whole_4, 4, ROWS, VECTORS)
FUNCTION(whole_16, 16, ROWS, VECTORS)
FUNCTION(narrow_1, 1, NARROW_ROWS, 1)

/* dw of a tile by groups of so many shards. Returns zeros if all are finite, else with a NaN. */
static vec sum_tile(const tile *t, const int64_t *start, int shards, subtree_function sums) {
    tile_sums pending[LS_MAX_TREE_DEPTH];
    const int vectors = t->p->columns == COLUMNS ? VECTORS : 1;
    const lanes some = first_lanes(t->p->columns);
    vec finite = broadcast(0);
    int depth = 0;
    for (int i = 0; i < t->o->node->count / shards; i++) {
        sums(t, start + i * shards, i * shards, pending[depth++]);
        for (int m = ls_tree_merges(i); m > 0; m--, depth--)
            for (int64_t r = 0; r < t->height; r++)
                for (int v = 0; v < vectors; v++)
                    pending[depth - 2][r][v] = add(pending[depth - 2][r][v], pending[depth - 1][r][v]);
    }
    for (int64_t r = 0; r < t->height; r++)
        for (int v = 0; v < vectors; v++) {
            const vec sum = pending[0][r][v];
            store_lanes(row_of_dw(t->o, t->p, t->begin + r) + v * LANES, some, sum);
            finite = add(finite, sum - sum);
        }
    return finite;
}

bool LS_NAME(ls_dense_outer_products)(const ls_dense_outer *o) {
    const int64_t *start = &o->shards->start[o->node->first - o->shards->first];
    const int64_t all_rows = ls_shards_rows(o->shards);
    const int count = o->node->count, most = count < 4 ? 1 : count < 16 ? 4 : 16;
    vec finite = broadcast(0);
    panel p;
    for (int64_t column = 0; column < o->outputs; column += p.columns) {
        p = panel_at(column, o->outputs);
        const bool whole = p.columns == COLUMNS;
        const int64_t rows = whole ? ROWS : NARROW_ROWS;
        for (int64_t c = 0; c < o->inputs; c += rows) {
            const int64_t first = c % LS_DENSE_TILE;
            const tile t = {.o = o,
                            .p = &p,
                            .begin = c,
                            .height = smaller(rows, o->inputs - c),
                            .x = o->x + (c - first) * all_rows + first,
                            .dy = o->dy + column * all_rows};
            finite = add(finite, whole ? sum_tile(&t, start, most,
                                                  most == 16  ? whole_16
                                                  : most == 4 ? whole_4
                                                              : whole_1)
                                       : sum_tile(&t, start, 1, narrow_1));
        }
    }
    float each[LANES];
    store(each, finite);
    return ls_all_finite_f32(each, LANES);
}
