/* The dense layer in portable C: the specification, and fast enough to train with where nothing better runs.
 *
 * Forward and input gradient are the same product out[n][j] = sum over t of a[n][t] b[t][j]:
 *
 *     for each panel of TILE_COLUMNS columns j
 *         for each piece of DEPTH terms t            the panel's piece of b, packed: 12 KB, stays in L1
 *             for each TILE_ROWS rows n              TILE_ROWS streams of a, from L2
 *                 for each t                         4 x 3 sums in registers
 *
 * A tile of sums rests in out between two pieces: one accumulator for each sum, over increasing t.
 *
 * Weight gradient, part by part: BLOCK_INPUTS rows c of dw by one panel of columns k,
 *
 *     for each leaf (shard) of a node, depth first   x' and dy of the shard's rows: 5 KB, in L1
 *         for each TILE_ROWS rows c
 *             for each sample n of the shard         4 x 3 sums in registers
 *             merge with the pending tiles           log2(V) + 1 levels of 3 KB, in L1 for V = 16
 *
 * so that no shard's own gradient ever reaches memory. */
#include "layers/dense/dense.h"

#include "core/finite.h"
#include "layers/fusion_ref.h"

#define LS_TILE_VECTORS 3
#include "layers/tile_ref.h"

enum {
    DEPTH = 256,       /* terms of a sum before the panel moves on */
    BLOCK_ROWS = 64,   /* rows that pass through scratch at a time, where they must */
    BLOCK_INPUTS = 64, /* of a part of the weight gradient */
    BLOCK_TILES = BLOCK_INPUTS / TILE_ROWS
};

/* --- out = a b ---------------------------------------------------------------------------- */

typedef struct product {
    const real *a; /* [rows][depth] */
    int64_t rows, depth;
    const real *b; /* b[t][j] at t * b_term + j * b_column */
    int64_t b_term, b_column;
    real *out; /* [rows][columns] */
    int64_t columns;
    bool adds_zero; /* to each sum, so that none is -0 */
} product;

/* Terms [term, term + n) of columns [column, column + columns) side by side, zeros behind them. */
static void pack_panel(const product *p, int64_t term, int64_t n, int64_t column, int64_t columns,
                       real *panel) {
    for (int64_t t = 0; t < n; t++, panel += TILE_COLUMNS) {
        const real *from = p->b + (term + t) * p->b_term + column * p->b_column;
        if (p->b_column == 1 && columns == TILE_COLUMNS) {
            memcpy(panel, from, sizeof(real[TILE_COLUMNS]));
            continue;
        }
        for (int64_t j = 0; j < columns; j++) panel[j] = from[j * p->b_column];
        for (int64_t j = columns; j < TILE_COLUMNS; j++) panel[j] = 0;
    }
}

/* rows is a constant wherever this is called */
ALWAYS_INLINE void product_tile(const product *p, int rows, int64_t row, int64_t term, int64_t n,
                                int64_t column, int64_t columns, const real *panel) {
    tile sum = {0};
    real *out = p->out + row * p->columns + column;
    if (term > 0) load_tile(&sum, rows, out, p->columns, columns);
    multiply_add(sum.v, rows, p->a + row * p->depth + term, 1, p->depth, panel, TILE_COLUMNS, n);
    if (p->adds_zero && term + n == p->depth) {
        const tile zero = {0};
        merge(&sum, rows, &zero);
    }
    store_tile(&sum, rows, out, p->columns, columns);
}

static void multiply(const product *p, real *panel) {
    for (int64_t column = 0; column < p->columns; column += TILE_COLUMNS) {
        const int64_t columns = smaller(TILE_COLUMNS, p->columns - column);
        for (int64_t term = 0; term < p->depth; term += DEPTH) {
            const int64_t n = smaller(DEPTH, p->depth - term);
            pack_panel(p, term, n, column, columns, panel);
            int64_t row = 0;
            for (; row + TILE_ROWS <= p->rows; row += TILE_ROWS)
                product_tile(p, TILE_ROWS, row, term, n, column, columns, panel);
            for (; row < p->rows; row++) product_tile(p, 1, row, term, n, column, columns, panel);
        }
    }
}

/* --- forward and backward ----------------------------------------------------------------- */

typedef struct scratch_parts {
    double *room; /* of the sums of dx', where x has several pixels */
    real *panel;  /* [DEPTH][TILE_COLUMNS] */
    real *rows;   /* [BLOCK_ROWS][inputs] */
} scratch_parts;

static int64_t room_of(const ls_dense_args *args) {
    return args->in.pixels > 1 ? 2 * ls_sums_room(args->in.channels) : 0;
}

static scratch_parts split_scratch(const ls_dense_args *args, void *scratch) {
    double *room = scratch;
    real *panel = (real *)(void *)(room + room_of(args));
    return (scratch_parts){.room = room, .panel = panel, .rows = panel + DEPTH * TILE_COLUMNS};
}

static size_t scratch_bytes(const ls_dense_args *args, int64_t rows) {
    (void)rows;
    return (size_t)room_of(args) * sizeof(double) +
           (size_t)(DEPTH * TILE_COLUMNS + BLOCK_ROWS * args->inputs) * sizeof(real);
}

static void forward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const int64_t begin = shards->start[first], end = shards->start[last];
    const scratch_parts parts = split_scratch(args, lane->scratch);
    const bool through_scratch = !args->in.stored && !ls_prologue_is_identity(&args->in);
    const int64_t block = through_scratch ? BLOCK_ROWS : end - begin;
    for (int64_t row = begin; row < end; row += block) {
        const int64_t rows = smaller(block, end - row);
        const real *x = (const real *)args->in.x + row * args->inputs;
        if (args->in.stored || through_scratch) {
            real *to = through_scratch ? parts.rows : (real *)args->in.stored + row * args->inputs;
            LS_NAME(ls_prologue_rows)(&args->in, row, rows, to);
            x = to;
        }
        multiply(&(product){.a = x,
                            .rows = rows,
                            .depth = args->inputs,
                            .b = args->weight,
                            .b_term = args->outputs,
                            .b_column = 1,
                            .out = (real *)args->y + row * args->outputs,
                            .columns = args->outputs,
                            .adds_zero = true},
                 parts.panel);
    }
    clear_sums(args->out.sums, args->outputs, first, last);
    for (int s = first; s < last; s++) LS_NAME(ls_epilogue_rows)
    (&args->out, s, shards->start[s + 1] - shards->start[s],
     (real *)args->y + shards->start[s] * args->outputs);
}

static const real *gradient_of_y(const ls_dense_args *args) {
    return args->dy.stored ? args->dy.stored : args->dy.dz;
}

/* dx' of rows [row, row + rows) back through the prologue, shard by shard. */
static void finish_dx(const ls_dense_args *args, const ls_shards *shards, int first, int last, int64_t row,
                      int64_t rows, const real *dx, double *room) {
    ls_grad_epilogue out = args->dx;
    out.room = room;
    for (int s = first; s < last; s++) {
        const int64_t begin = row > shards->start[s] ? row : shards->start[s];
        const int64_t end = smaller(row + rows, shards->start[s + 1]);
        if (begin < end) LS_NAME(ls_grad_epilogue_rows)
        (&args->in, &out, s, begin, end - begin, dx + (begin - row) * args->inputs);
    }
}

static void backward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const int64_t begin = shards->start[first], end = shards->start[last];
    if (args->dy.stored) LS_NAME(ls_grad_prologue_rows)
    (&args->dy, begin, end - begin, (real *)args->dy.stored + begin * args->outputs);
    if (!args->dx.dz && !args->dx.dresidual) return;
    clear_sums(args->dx.sums, args->in.channels, first, last); /* a flattened x has several pixels */
    clear_sums(args->dx.residual_sums, args->in.channels, first, last);
    /* Where dz is not added to, dx' is computed in its place. */
    const bool in_place = args->dx.dz && !args->dx.accumulate;
    const scratch_parts parts = split_scratch(args, lane->scratch);
    const int64_t block = in_place ? end - begin : BLOCK_ROWS;
    for (int64_t row = begin; row < end; row += block) {
        const int64_t rows = smaller(block, end - row);
        real *dx = in_place ? (real *)args->dx.dz + row * args->inputs : parts.rows;
        multiply(&(product){.a = gradient_of_y(args) + row * args->outputs,
                            .rows = rows,
                            .depth = args->outputs,
                            .b = args->weight,
                            .b_term = 1,
                            .b_column = args->outputs,
                            .out = dx,
                            .columns = args->inputs},
                 parts.panel);
        finish_dx(args, shards, first, last, row, rows, dx, parts.room);
    }
}

/* --- weight gradient ---------------------------------------------------------------------- */

/* One part: inputs [input, input + inputs) by outputs [output, output + outputs). */
typedef struct part {
    int64_t input, inputs, output, outputs;
} part;

/* At most BLOCK_ROWS samples of a shard: x' at the part's first input, dy at its first output. */
typedef struct samples {
    const real *x, *dy;
    int64_t x_stride, dy_stride, n;
    bool first, last; /* of the shard */
} samples;

typedef tile pending_tiles[LS_MAX_TREE_DEPTH][BLOCK_TILES];

static int64_t panels_of(const ls_dense_args *args) {
    return (args->outputs + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

static int64_t weight_grad_parts(const ls_dense_args *args) {
    return (args->inputs + BLOCK_INPUTS - 1) / BLOCK_INPUTS * panels_of(args);
}

/* Adds samples to tile i of the shard's sum at pending[depth]; after the last ones merges it down. */
ALWAYS_INLINE void add_samples(const samples *at, int rows, pending_tiles pending, int depth, int merges,
                               int i) {
    tile sum = {0};
    if (!at->first) sum = pending[depth][i];
    multiply_add(sum.v, rows, at->x + (int64_t)i * TILE_ROWS, at->x_stride, 1, at->dy, at->dy_stride, at->n);
    if (!at->last) merges = 0;
    for (; merges > 0; merges--) merge(&sum, rows, &pending[--depth][i]);
    pending[depth][i] = sum;
}

static void add_samples_to_part(const samples *at, const part *p, pending_tiles pending, int depth,
                                int merges) {
    int i = 0;
    for (; (i + 1) * TILE_ROWS <= p->inputs; i++) add_samples(at, TILE_ROWS, pending, depth, merges, i);
    switch (p->inputs - i * TILE_ROWS) {
    case 1: add_samples(at, 1, pending, depth, merges, i); break;
    case 2: add_samples(at, 2, pending, depth, merges, i); break;
    case 3: add_samples(at, 3, pending, depth, merges, i); break;
    default: break;
    }
}

/* The shard's sum of the part at pending[depth], merged down. A panel of fewer columns is padded first. */
static void add_shard(const ls_dense_args *args, const part *p, int64_t begin, int64_t end,
                      pending_tiles pending, int depth, int merges, real *padded) {
    const real *x = args->in.stored ? args->in.stored : args->in.x;
    const real *dy = gradient_of_y(args) + p->output;
    int64_t row = begin;
    do {
        samples at = {.x = x + row * args->inputs + p->input,
                      .x_stride = args->inputs,
                      .dy = dy + row * args->outputs,
                      .dy_stride = args->outputs,
                      .n = smaller(BLOCK_ROWS, end - row),
                      .first = row == begin};
        if (p->outputs < TILE_COLUMNS) {
            pad_columns(at.dy, at.dy_stride, at.n, p->outputs, padded);
            at.dy = padded;
            at.dy_stride = TILE_COLUMNS;
        }
        row += at.n;
        at.last = row == end;
        add_samples_to_part(&at, p, pending, depth, merges);
    } while (row < end);
}

static bool all_finite(const real *x, int64_t n) {
#ifdef LS_F64
    return ls_all_finite_f64(x, n);
#else
    return ls_all_finite_f32(x, n);
#endif
}

/* Of a node; are the sums finite? */
static bool weight_gradient(const ls_dense_args *args, const ls_shards *shards, const ls_node *node,
                            const part *p, real *dw, real *padded) {
    pending_tiles pending;
    int depth = 0;
    for (int i = 0; i < node->count; i++) {
        const int s = node->first - shards->first + i, merges = ls_tree_merges(i);
        add_shard(args, p, shards->start[s], shards->start[s + 1], pending, depth, merges, padded);
        depth += 1 - merges;
    }
    bool finite = true;
    for (int64_t c = 0; c < p->inputs; c++) {
        real *to = dw + (p->input + c) * args->outputs + p->output;
        memcpy(to, pending[0][c / TILE_ROWS].v[c % TILE_ROWS], (size_t)p->outputs * sizeof(real));
        finite &= all_finite(to, p->outputs);
    }
    return finite;
}

static bool weight_grad(const ls_dense_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    const int64_t panels = panels_of(args);
    bool finite = true;
    for (int64_t i = first; i < last; i++) {
        const int64_t input = i / panels * BLOCK_INPUTS, output = i % panels * TILE_COLUMNS;
        const part p = {.input = input,
                        .inputs = smaller(BLOCK_INPUTS, args->inputs - input),
                        .output = output,
                        .outputs = smaller(TILE_COLUMNS, args->outputs - output)};
        for (int n = 0; n < shards->node_count; n++) {
            const int64_t at = n * args->node_stride;
            finite &= weight_gradient(args, shards, &shards->node[n], &p, (real *)args->dweight + at,
                                      split_scratch(args, lane->scratch).panel);
            if (input > 0 || !args->dbias) continue;
            real *db = (real *)args->dbias + at;
            bias_gradient(shards, &shards->node[n], gradient_of_y(args), 1, args->outputs, output, p.outputs,
                          db);
            finite &= all_finite(db + output, p.outputs);
        }
    }
    return finite;
}

const ls_dense_kernels LS_PRODUCT_NAME(ls_dense_ref) = {
    .folds = ls_folds_any,
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .weight_grad_parts = weight_grad_parts,
    .weight_grad = weight_grad,
};
