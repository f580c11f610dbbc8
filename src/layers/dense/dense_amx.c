/* The products of the dense layer on AMX's tiles, in place of dense_products.c and dense_outer.c: a block of
 * up to 32 x 32 sums in four tiles, each step of 32 terms two tiles of a, two of b and four products. Where
 * there are fewer rows, columns or terms the tiles are configured smaller, so that nothing beside the
 * operands is read. Configuring clears the tiles: sums then rest in memory. */
#include "layers/dense/dense_vector.h"

#include "core/finite.h"
#include "core/tiles.h"
#include "core/transpose16.h"
#include "layers/dense/dense_tile.h"
#include "layers/dense/dense_words.h"

#include <string.h>

enum { BLOCK = 2 * LS_TILE_ROWS };

/* Tiles: c[i][j], a[i] for its rows and b[j] for its columns. */
#define C00 0
#define C01 1
#define C10 2
#define C11 3
#define A0  4
#define A1  5
#define B0  6
#define B1  7

/* What the tiles are configured for; all zero: nothing yet. */
typedef struct shape {
    int64_t rows, columns, words; /* of a step; at most BLOCK, BLOCK, LS_TILE_WORDS */
} shape;

/* c [rows][columns] = or, continued, += a b over so many words */
typedef struct product {
    const float *a[2]; /* rows [0, 16), rows [16, 32) */
    int64_t a_row;
    const float *b;
    int64_t b_row;
    float *c;
    int64_t c_row, rows, columns, words;
    bool continued;
} product;

static int64_t in_tile(int64_t size, int which) {
    return smaller(LS_TILE_ROWS, size - which * LS_TILE_ROWS);
}

static void configure(shape *now, shape wanted) {
    static const int c[2][2] = {{C00, C01}, {C10, C11}}, a[2] = {A0, A1}, b[2] = {B0, B1};
    ls_tile_shapes shapes = {0};
    if (memcmp(now, &wanted, sizeof wanted) == 0) return;
    for (int i = 0; i < 2; i++) {
        const int64_t rows = in_tile(wanted.rows, i), columns = in_tile(wanted.columns, i);
        if (rows > 0) ls_tile_shape(&shapes, a[i], rows, wanted.words);
        if (columns > 0) ls_tile_shape(&shapes, b[i], wanted.words, columns);
        for (int j = 0; rows > 0 && j < 2; j++)
            if (in_tile(wanted.columns, j) > 0)
                ls_tile_shape(&shapes, c[i][j], rows, in_tile(wanted.columns, j));
    }
    LS_TILES_CONFIGURE(&shapes);
    *now = wanted;
}

static void load_sums(const product *p, bool below, bool beside) {
    float *c = p->c, *second = c + LS_TILE_ROWS * p->c_row;
    LS_TILE_LOAD(C00, c, p->c_row);
    if (beside) LS_TILE_LOAD(C01, c + LS_TILE_ROWS, p->c_row);
    if (below) LS_TILE_LOAD(C10, second, p->c_row);
    if (below && beside) LS_TILE_LOAD(C11, second + LS_TILE_ROWS, p->c_row);
}

static void clear_sums(bool below, bool beside) {
    LS_TILE_ZERO(C00);
    if (beside) LS_TILE_ZERO(C01);
    if (below) LS_TILE_ZERO(C10);
    if (below && beside) LS_TILE_ZERO(C11);
}

static void store_sums(const product *p, bool below, bool beside) {
    float *c = p->c, *second = c + LS_TILE_ROWS * p->c_row;
    LS_TILE_STORE(C00, c, p->c_row);
    if (beside) LS_TILE_STORE(C01, c + LS_TILE_ROWS, p->c_row);
    if (below) LS_TILE_STORE(C10, second, p->c_row);
    if (below && beside) LS_TILE_STORE(C11, second + LS_TILE_ROWS, p->c_row);
}

/* Steps of so many words each, from word `first`. */
static void multiply_steps(const product *p, shape *now, int64_t first, int64_t steps, int64_t words,
                           bool continued) {
    const bool below = p->rows > LS_TILE_ROWS, beside = p->columns > LS_TILE_ROWS;
    const float *a0 = p->a[0] + first, *a1 = below ? p->a[1] + first : NULL, *b = p->b + first * p->b_row;
    configure(now, (shape){p->rows, p->columns, words});
    if (continued)
        load_sums(p, below, beside);
    else
        clear_sums(below, beside);
    for (int64_t i = 0; i < steps; i++, b += words * p->b_row) {
        LS_TILE_LOAD(A0, a0 + i * words, p->a_row);
        LS_TILE_LOAD(B0, b, p->b_row);
        LS_TILE_MULTIPLY(C00, A0, B0);
        if (beside) {
            LS_TILE_LOAD(B1, b + LS_TILE_ROWS, p->b_row);
            LS_TILE_MULTIPLY(C01, A0, B1);
        }
        if (below) {
            LS_TILE_LOAD(A1, a1 + i * words, p->a_row);
            LS_TILE_MULTIPLY(C10, A1, B0);
            if (beside) LS_TILE_MULTIPLY(C11, A1, B1);
        }
    }
    store_sums(p, below, beside);
}

static void multiply(const product *p, shape *now) {
    const int64_t steps = p->words / LS_TILE_WORDS, rest = p->words % LS_TILE_WORDS;
    if (steps > 0) multiply_steps(p, now, 0, steps, LS_TILE_WORDS, p->continued);
    if (rest > 0) multiply_steps(p, now, p->words - rest, 1, rest, p->continued || steps > 0);
    for (int64_t r = 0; p->words == 0 && !p->continued && r < p->rows; r++)
        memset(p->c + r * p->c_row, 0, (size_t)p->columns * sizeof(float));
}

/* --- rows by columns ----------------------------------------------------------------------------------- */

/* to[r] = a[r] + b[r]; b NULL: + 0. At most BLOCK columns. */
static void add_rows(float *to, int64_t to_row, const float *b, int64_t b_row, int64_t rows,
                     int64_t columns) {
    for (int64_t r = 0; r < rows; r++, to += to_row)
        for (int64_t j = 0; j < columns; j += LANES) {
            const lanes some = first_lanes(smaller(LANES, columns - j));
            const vec v = b ? load_lanes(b + r * b_row + j, some) : broadcast(0);
            store_lanes(to + j, some, add(load_lanes(to + j, some), v));
        }
}

/* The terms of a are neighbours: p->term is 0, 1, .. */
void LS_NAME(ls_dense_multiply)(const ls_dense_product *p) {
    shape now = {0};
    for (int64_t row = 0; row < p->rows; row += BLOCK) {
        const float *a = p->a + row * p->a_row;
        const product block = {.a = {a, a + LS_TILE_ROWS * p->a_row},
                               .a_row = p->a_row,
                               .b = p->b,
                               .b_row = BLOCK,
                               .c = p->out + row * p->out_row,
                               .c_row = p->out_row,
                               .rows = smaller(BLOCK, p->rows - row),
                               .columns = p->columns,
                               .words = p->terms,
                               .continued = p->continued};
        multiply(&block, &now);
        if (p->last) add_rows(block.c, block.c_row, NULL, 0, block.rows, block.columns);
    }
    LS_TILES_RELEASE();
}

/* --- weight gradient ----------------------------------------------------------------------------------- */

/* Words of the pairs of these n rows of x, at most 16 of each, at the given inputs: to [inputs][to_row]. */
static void pack_words(const float *x, int64_t x_row, int64_t n, const int32_t *input, int64_t inputs,
                       float *to, int64_t to_row) {
    const bool side_by_side = input[inputs - 1] - input[0] == inputs - 1;
    const lanes some = first_lanes(inputs);
    __m512 w[LS_TILE_WORDS];
    float rows[2][LANES] = {{0}};
    for (int64_t i = 0; i < LS_TILE_WORDS; i++) {
        vec pair[2] = {broadcast(0), broadcast(0)};
        for (int64_t r = 2 * i; r < 2 * i + 2 && r < n; r++) {
            for (int64_t c = 0; !side_by_side && c < inputs; c++) rows[r % 2][c] = x[r * x_row + input[c]];
            pair[r % 2] = side_by_side ? load_lanes(x + r * x_row + input[0], some) : load(rows[r % 2]);
        }
        w[i] = word(pair[0], pair[1]);
    }
    ls_transpose16(w);
    for (int64_t c = 0; c < inputs; c++) store_lanes(to + c * to_row, first_lanes(ls_dense_words(n)), w[c]);
}

/* As tiles of a: of each sixteen inputs, shard by shard, [inputs][words of the shard]. */
void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed) {
    const int64_t all_rows = ls_shards_rows(shards);
    for (int64_t begin = 0; begin < inputs; begin += LS_TILE_ROWS) {
        const int64_t height = smaller(LS_TILE_ROWS, inputs - begin);
        for (int s = 0; s < shards->count; s++) {
            const int64_t start = shards->start[s], n = shards->start[s + 1] - start,
                          words = ls_dense_words(n);
            float *to = packed + begin * all_rows + start * height;
            for (int64_t r = 0; r < n; r += LS_TILE_TERMS)
                pack_words(x + (start + r) * x_row, x_row, smaller(LS_TILE_TERMS, n - r), input + begin,
                           height, to + r / 2, words);
        }
    }
}

typedef float pending_sums[LS_MAX_TREE_DEPTH][BLOCK * BLOCK]; /* 4 KB for each level of the tree: in L1 */

/* dw of a block of inputs from `begin` and of columns; is it finite? */
static bool sum_block(const ls_dense_outer *o, int64_t begin, int64_t column, shape *now,
                      float (*pending)[BLOCK * BLOCK]) {
    const int64_t all_rows = ls_shards_rows(o->shards);
    product p = {.b_row = BLOCK,
                 .c_row = BLOCK,
                 .rows = smaller(BLOCK, o->inputs - begin),
                 .columns = smaller(BLOCK, o->outputs - column)};
    int depth = 0;
    for (int shard = 0; shard < o->node->count; shard++) {
        const int64_t *start = &o->shards->start[o->node->first - o->shards->first + shard];
        p.words = p.a_row = ls_dense_words(start[1] - start[0]);
        for (int i = 0; i < 2 && in_tile(p.rows, i) > 0; i++)
            p.a[i] = o->x + (begin + i * LS_TILE_ROWS) * all_rows + start[0] * in_tile(p.rows, i);
        p.b = o->dy + column * all_rows + start[0] * BLOCK;
        p.c = pending[depth++];
        multiply(&p, now);
        for (int m = ls_tree_merges(shard); m > 0; m--, depth--)
            add_rows(pending[depth - 2], BLOCK, pending[depth - 1], BLOCK, p.rows, p.columns);
    }
    bool finite = true;
    for (int64_t c = 0; c < p.rows; c++) {
        memcpy(o->dw + o->input[begin + c] * o->outputs + column, pending[0] + c * BLOCK,
               (size_t)p.columns * sizeof(float));
        finite &= ls_all_finite_f32(pending[0] + c * BLOCK, p.columns);
    }
    return finite;
}

bool LS_NAME(ls_dense_outer_products)(const ls_dense_outer *o) {
    pending_sums pending __attribute__((aligned(64)));
    shape now = {0};
    bool finite = true;
    for (int64_t column = 0; column < o->outputs; column += BLOCK)
        for (int64_t begin = 0; begin < o->inputs; begin += BLOCK)
            finite &= sum_block(o, begin, column, &now, pending);
    LS_TILES_RELEASE();
    return finite;
}
