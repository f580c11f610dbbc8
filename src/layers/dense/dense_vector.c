/* The dense layer for AVX2, AVX-512 and AMX. Every sum runs over the terms that dense.h specifies, in that
 * order, in one accumulator of fused multiply-adds: the bits of the first two are those of the reference. The
 * products of AMX (dense_amx.c) have their own order.
 *
 * Inputs that are 0 in all rows at hand (pixels that no image of the batch lights, behind a BatchNorm too)
 * are left out. That cannot be seen: their products are zeros, which change a sum of fused multiply-adds only
 * in the sign of a zero, and forward makes that sign positive always. It is not done where their weights or
 * dy are not finite, since then a product would be NaN. */
#include <immintrin.h>
#include <string.h>

#include "core/finite.h"
#include "layers/dense/dense.h"
#include "layers/dense/dense_tile.h"
#include "layers/dense/dense_vector.h"
#include "layers/dense/dense_words.h"
#include "layers/fusion_ref.h"

enum {
    BLOCK_ROWS = 128,               /* rows that pass through scratch at a time, where they must */
    DEPTH = 4096 / COLUMNS / 8 * 8, /* words of a panel of weights: 16 KB */
    TRANSPOSED = 8,                 /* rows and columns of a transposition in registers */
    TOGETHER = LS_TILES ? 32 : 1    /* terms of y that are left out together: the steps of a sum (dense.h) */
};

/* --- scratch ------------------------------------------------------------------------------------------- */

typedef struct scratch_parts {
    float *rows;    /* [BLOCK_ROWS][inputs] */
    float *panel;   /* [DEPTH][COLUMNS] */
    float *packed;  /* [rows][LS_DENSE_BLOCK] */
    int32_t *terms; /* [inputs] */
    uint32_t *bits; /* [inputs] */
    float *words;   /* with LS_BF16: [BLOCK_ROWS][inputs or outputs] */
    float *turned;  /* with LS_BF16: [COLUMNS][DEPTH] */
    double *room;   /* of the sums of dx', where x has several pixels */
} scratch_parts;

/* rows: local ones, or all that the weight gradient is over. All parts begin at multiples of 64 bytes;
 * returns the bytes they take. */
static size_t split_scratch(const ls_dense_args *args, int64_t rows, void *scratch, scratch_parts *parts) {
    const int64_t inputs = (args->inputs + 15) / 16 * 16;
    int64_t end = 0, at[8], words = 0, turned = 0;
#ifdef LS_BF16
    words = BLOCK_ROWS * ls_dense_words_row(inputs > args->outputs ? inputs : args->outputs);
    turned = COLUMNS * DEPTH;
#endif
    const int64_t sizes[8] = {BLOCK_ROWS * inputs,
                              DEPTH * COLUMNS,
                              (rows + 15) / 16 * 16 * LS_DENSE_BLOCK,
                              inputs,
                              inputs,
                              words,
                              turned,
                              args->in.pixels > 1 ? 4 * ls_sums_room(args->in.channels) : 0};
    for (int i = 0; i < 8; i++) {
        at[i] = end;
        end += sizes[i];
    }
    if (scratch) {
        float *f = scratch;
        *parts = (scratch_parts){.rows = f + at[0],
                                 .panel = f + at[1],
                                 .packed = f + at[2],
                                 .terms = (int32_t *)(void *)(f + at[3]),
                                 .bits = (uint32_t *)(void *)(f + at[4]),
                                 .words = f + at[5],
                                 .turned = f + at[6],
                                 .room = (double *)(void *)(f + at[7])};
    }
    return (size_t)end * sizeof(float);
}

/* How many rows are multiplied at a time. All, for then w is packed once; not those that pass through scratch. */
static int64_t block_rows(bool in_place, int64_t rows) {
#ifdef LS_BF16
    in_place = false; /* their factors are rounded there */
#endif
    return in_place ? rows : BLOCK_ROWS;
}

static size_t scratch_bytes(const ls_dense_args *args, int64_t rows) {
    return split_scratch(args, rows, NULL, NULL);
}

/* --- inputs that are zero ------------------------------------------------------------------------------ */

typedef uint32_t float_bits __attribute__((may_alias));

/* Of the lowest magnitude that is not finite as a factor: infinity, or what rounds to it. */
#ifdef LS_BF16
static const uint32_t not_finite = 0x7f7f8000u;
#else
static const uint32_t not_finite = LS_INFINITY_F32;
#endif

/* Are they finite factors? */
static bool all_finite(const float *x, int64_t n) {
    return ls_all_below_f32(x, n, not_finite);
}

/* bits[c] == 0: input c is 0 in all these rows of x [rows][inputs]. */
static void nonzero_inputs(const float *x, int64_t rows, int64_t inputs, uint32_t *restrict bits) {
    memset(bits, 0, (size_t)inputs * sizeof *bits);
    for (int64_t row = 0; row < rows; row++) {
        const float_bits *restrict from = (const float_bits *)(x + row * inputs);
        for (int64_t c = 0; c < inputs; c++) bits[c] |= from[c] << 1; /* without the sign */
    }
}

/* --- products with the weights ------------------------------------------------------------------------- */

/* to[k][c] = from[c][k], 8 by 8, of which so many c and k are there: 0 for the others */
static void transpose_block(const float *from, int64_t from_row, int64_t columns, int64_t terms, float *to,
                            int64_t to_row) {
    const __m256i some = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)smaller(TRANSPOSED, terms)),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256 a[TRANSPOSED], b[TRANSPOSED];
    for (int i = 0; i < TRANSPOSED; i++)
        a[i] = i < columns ? _mm256_maskload_ps(from + i * from_row, some) : _mm256_setzero_ps();
    for (int i = 0; i < TRANSPOSED; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < TRANSPOSED; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
    }
    for (int i = 0; i < TRANSPOSED / 2; i++) {
        _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

/* The panel of w^T that is made of these rows of w. */
static void turn_panel(const ls_dense_rows *w, int64_t width, const scratch_parts *parts) {
    const int64_t words = ls_dense_words(w->columns);
    const float *from = w->from;
    int64_t row = w->row;
#ifdef LS_BF16
    LS_NAME(ls_dense_round_rows)(from, w->rows, row, w->columns, parts->turned, DEPTH);
    from = parts->turned;
    row = DEPTH;
#endif
    for (int64_t c = 0; c < width; c += TRANSPOSED)
        for (int64_t t = 0; t < words; t += TRANSPOSED)
            transpose_block(from + smaller(c, w->rows - 1) * row + t, row, w->rows - c, words - t,
                            parts->panel + t * width + c, width);
}

/* A piece of a product with the weights: terms [term, term + terms) by a panel of columns. */
typedef struct piece {
    int64_t term, terms;
    panel panel;
} piece;

static piece piece_at(int64_t term, int64_t terms, int64_t column, int64_t columns) {
    return (piece){term, smaller(LS_DENSE_WORD * DEPTH, terms - term), panel_at(column, columns)};
}

/* To the next one: panel by panel, then the next terms. False: there is none. */
static bool advance(piece *p, int64_t terms, int64_t columns) {
    const int64_t column = p->panel.column + p->panel.columns, term = p->term + p->terms;
    if (column == columns && term == terms) return false;
    *p = column < columns ? piece_at(p->term, terms, column, columns) : piece_at(term, terms, 0, columns);
    return true;
}

/* What of w the piece is made of: these rows of it, or of those before where a piece of w^T is wanted. */
static ls_dense_rows rows_of(const ls_dense_args *args, const int32_t *term, const piece *p) {
    const float *w = args->weight;
    if (term)
        return (ls_dense_rows){w + p->panel.column, args->outputs, term + p->term, p->terms,
                               p->panel.columns};
    return (ls_dense_rows){w + p->panel.column * args->outputs + p->term, args->outputs, NULL,
                           p->panel.columns, p->terms};
}

/* p.out [rows][columns] = p.a b, where b is w^T or, where a list of terms is given, these rows of w. The terms of
 * a are neighbours, but with that list in fp32 as the list says. Each piece of b is packed once for all rows. */
static void multiply(const ls_dense_args *args, const int32_t *term, int64_t terms, int64_t columns,
                     ls_dense_product p, const scratch_parts *parts) {
    const float *a = p.a;
    float *out = p.out;
    int32_t neighbours[DEPTH];
    piece at = piece_at(0, terms, 0, columns);
    p.next = rows_of(args, term, &at);
    for (int32_t i = 0; i < DEPTH; i++) neighbours[i] = i;
    for (bool more = true; more;) {
        piece next = at;
        more = advance(&next, terms, columns);
        if (term) LS_NAME(ls_dense_pack_terms)
        (p.next.from, p.next.row, p.next.at, at.terms, at.panel.columns, parts->panel, at.panel.width);
        else turn_panel(&p.next, at.panel.width, parts);
        p.next = rows_of(args, term, &next);
        if (!more) p.next.rows = 0;
        p.term = neighbours;
        p.a = a + at.term / LS_DENSE_WORD;
#ifndef LS_BF16
        if (term) p.term = term + at.term, p.a = a;
#endif
        p.b = parts->panel;
        p.terms = ls_dense_words(at.terms);
        p.out = out + at.panel.column;
        p.columns = at.panel.columns;
        p.continued = at.term > 0;
        p.last = term && at.term + at.terms == terms;
        LS_NAME(ls_dense_multiply)(&p);
        at = next;
    }
}

/* --- forward ------------------------------------------------------------------------------------------- */

/* y = x' w of these rows */
static void multiply_rows(const ls_dense_args *args, const float *x, int64_t row, int64_t rows,
                          const scratch_parts *parts) {
    const float *weight = args->weight;
    int64_t terms = 0;
    nonzero_inputs(x, rows, args->inputs, parts->bits);
    for (int64_t c = 0; c < args->inputs; c += TOGETHER) {
        const int64_t end = smaller(c + TOGETHER, args->inputs);
        bool needed = false;
        for (int64_t i = c; i < end && !needed; i++)
            needed = parts->bits[i] || !all_finite(weight + i * args->outputs, args->outputs);
        for (int64_t i = c; i < end && needed; i++) parts->terms[terms++] = (int32_t)i;
    }
    ls_dense_product p = {.a = x,
                          .rows = rows,
                          .a_row = args->inputs,
                          .out = (float *)args->y + row * args->outputs,
                          .out_row = args->outputs};
#ifdef LS_BF16
    p.a = parts->words;
    p.a_row = ls_dense_words_row(args->inputs);
    LS_NAME(ls_dense_round_terms)
    (x, rows, args->inputs, args->inputs, parts->terms, terms, parts->words);
#endif
    multiply(args, parts->terms, terms, args->outputs, p, parts);
}

static void clear_sums(double *sums, int64_t channels, int first, int last) {
    if (sums)
        memset(sums + 2 * channels * first, 0, (size_t)(2 * channels * (last - first)) * sizeof(double));
}

static void forward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const int64_t begin = shards->start[first], end = shards->start[last];
    const bool through_scratch = !args->in.stored && !ls_prologue_is_identity(&args->in);
    scratch_parts parts;
    split_scratch(args, ls_shards_rows(shards), lane->scratch, &parts);
    const int64_t block = block_rows(!through_scratch, end - begin);
    for (int64_t row = begin; row < end; row += block) {
        const int64_t rows = smaller(block, end - row);
        const float *x = (const float *)args->in.x + row * args->inputs;
        if (args->in.stored || through_scratch) {
            float *to = through_scratch ? parts.rows : (float *)args->in.stored + row * args->inputs;
            LS_TIER_NAME(ls_prologue_rows)(&args->in, row, rows, to);
            x = to;
        }
        multiply_rows(args, x, row, rows, &parts);
    }
    clear_sums(args->out.sums, args->outputs, first, last);
    for (int s = first; s < last; s++) LS_TIER_NAME(ls_epilogue_rows)
    (&args->out, s, shards->start[s + 1] - shards->start[s],
     (float *)args->y + shards->start[s] * args->outputs);
}

/* --- input gradient ------------------------------------------------------------------------------------ */

static const float *gradient_of_y(const ls_dense_args *args) {
    return args->dy.stored ? args->dy.stored : args->dy.dz;
}

/* dx [rows][inputs] = dy w^T */
static void multiply_transposed(const ls_dense_args *args, const float *dy, int64_t rows, float *dx,
                                const scratch_parts *parts) {
    ls_dense_product p = {.a = dy, .rows = rows, .a_row = args->outputs, .out = dx, .out_row = args->inputs};
#ifdef LS_BF16
    p.a = parts->words;
    p.a_row = ls_dense_words_row(args->outputs);
    LS_NAME(ls_dense_round_rows)(dy, rows, args->outputs, args->outputs, parts->words, p.a_row);
#endif
    multiply(args, NULL, args->outputs, args->inputs, p, parts);
}

/* dx' of rows [row, row + rows) back through the prologue, shard by shard. */
static void finish_dx(const ls_dense_args *args, const ls_shards *shards, int first, int last, int64_t row,
                      int64_t rows, const float *dx, double *room) {
    ls_grad_epilogue out = args->dx;
    out.room = room;
    for (int s = first; s < last; s++) {
        const int64_t begin = row > shards->start[s] ? row : shards->start[s];
        const int64_t end = smaller(row + rows, shards->start[s + 1]);
        if (begin < end) LS_TIER_NAME(ls_grad_epilogue_rows)
        (&args->in, &out, s, begin, end - begin, dx + (begin - row) * args->inputs);
    }
}

static void backward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const int64_t begin = shards->start[first], end = shards->start[last];
    if (args->dy.stored) LS_TIER_NAME(ls_grad_prologue_rows)
    (&args->dy, begin, end - begin, (float *)args->dy.stored + begin * args->outputs);
    if (!args->dx.dz && !args->dx.dresidual) return;
    clear_sums(args->dx.sums, args->in.channels, first, last); /* a flattened x has several pixels */
    clear_sums(args->dx.residual_sums, args->in.channels, first, last);
    /* Where dz is not added to, dx' is computed in its place. */
    const bool in_place = args->dx.dz && !args->dx.accumulate;
    scratch_parts parts;
    split_scratch(args, ls_shards_rows(shards), lane->scratch, &parts);
    const int64_t block = block_rows(in_place, end - begin);
    for (int64_t row = begin; row < end; row += block) {
        const int64_t rows = smaller(block, end - row);
        float *dx = in_place ? (float *)args->dx.dz + row * args->inputs : parts.rows;
        multiply_transposed(args, gradient_of_y(args) + row * args->outputs, rows, dx, &parts);
        finish_dx(args, shards, first, last, row, rows, dx, parts.room);
    }
}

/* --- what the weight gradient is made of --------------------------------------------------------------- */

/* What is known of a shard's rows; behind the panels of dy there is one for each shard. */
typedef struct notes {
    uint32_t finite;   /* are all factors dy? */
    uint8_t nonzero[]; /* [inputs] is any x'? */
} notes;

static int64_t panels_size(const ls_dense_args *args, int64_t rows) {
    return rows * (args->outputs + COLUMNS);
}

static size_t notes_size(const ls_dense_args *args) {
    return (sizeof(notes) + (size_t)args->inputs + 63) / 64 * 64;
}

static size_t packed_bytes(const ls_dense_args *args, int64_t rows, int shards) {
    return (size_t)panels_size(args, rows) * sizeof(float) + (size_t)shards * notes_size(args);
}

/* Of a shard, counted from the first of all whose rows are packed. */
static notes *notes_of(const ls_dense_args *args, int64_t all_rows, int shard) {
    float *end = (float *)args->packed + panels_size(args, all_rows);
    return (notes *)(void *)((char *)end + (size_t)shard * notes_size(args));
}

static void pack(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                 const ls_shards *all, const ls_lane *lane) {
    const float *x = args->in.stored ? args->in.stored : args->in.x;
    const int64_t all_rows = ls_shards_rows(all);
    scratch_parts parts;
    split_scratch(args, ls_shards_rows(shards), lane->scratch, &parts);
    for (int s = first; s < last; s++) {
        const int place = shards->first + s - all->first;
        const int64_t begin = shards->start[s], rows = shards->start[s + 1] - begin;
        const float *dy = gradient_of_y(args) + begin * args->outputs;
        notes *n = notes_of(args, all_rows, place);
        n->finite = all_finite(dy, rows * args->outputs);
        nonzero_inputs(x + begin * args->inputs, rows, args->inputs, parts.bits);
        for (int64_t c = 0; c < args->inputs; c++) n->nonzero[c] = parts.bits[c] != 0;
        panel p;
        for (int64_t column = 0; column < args->outputs; column += p.columns) {
            p = panel_at(column, args->outputs);
            LS_NAME(ls_dense_pack_terms)
            (dy + column, args->outputs, NULL, rows, p.columns,
             (float *)args->packed + all_rows * column + all->start[place] * p.width, p.width);
        }
    }
}

/* --- weight gradient ----------------------------------------------------------------------------------- */

static int64_t weight_grad_parts(const ls_dense_args *args) {
    return (args->inputs + LS_DENSE_TILE - 1) / LS_DENSE_TILE;
}

/* db of a node: sums over each shard, over the shards by the tree. */
static void bias_gradient(const ls_shards *shards, const ls_node *node, const float *dy, int64_t outputs,
                          float *db) {
    enum { PANEL = 256 };
    for (int64_t column = 0; column < outputs; column += PANEL) {
        const int64_t columns = smaller(PANEL, outputs - column);
        float pending[LS_MAX_TREE_DEPTH][PANEL];
        int depth = 0;
        for (int i = 0; i < node->count; i++) {
            const int64_t *start = &shards->start[node->first - shards->first + i];
            float sum[PANEL] = {0};
            for (int64_t n = start[0]; n < start[1]; n++)
                for (int64_t k = 0; k < columns; k++) sum[k] += dy[n * outputs + column + k];
            for (int m = ls_tree_merges(i); m > 0; m--) {
                depth--;
                for (int k = 0; k < PANEL; k++) sum[k] = pending[depth][k] + sum[k];
            }
            memcpy(pending[depth++], sum, sizeof sum);
        }
        memcpy(db + column, pending[0], (size_t)columns * sizeof(float));
    }
}

/* Rows [from, to) of dw of every node. */
static void clear_rows(const ls_dense_args *args, const ls_shards *shards, int64_t from, int64_t to) {
    for (int n = 0; from < to && n < shards->node_count; n++)
        memset((float *)args->dweight + n * args->node_stride + from * args->outputs, 0,
               (size_t)((to - from) * args->outputs) * sizeof(float));
}

/* Inputs input[0 .. inputs) of dw of every node, in blocks, since dy has to be read anew for each of them; are
 * they finite? */
static bool multiply_inputs(const ls_dense_args *args, const ls_shards *shards, const float *x,
                            const float *dy, const int32_t *input, int64_t inputs, float *packed) {
    const int64_t blocks = (inputs + LS_DENSE_BLOCK - 1) / LS_DENSE_BLOCK;
    bool finite = true;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t block = smaller(LS_DENSE_BLOCK, inputs - i * LS_DENSE_BLOCK);
        ls_dense_outer outer = {.shards = shards,
                                .x = packed,
                                .input = input + i * LS_DENSE_BLOCK,
                                .inputs = block,
                                .dy = dy,
                                .outputs = args->outputs};
        LS_NAME(ls_dense_pack_inputs)
        (shards, x, args->inputs, outer.input, block, packed);
        for (int n = 0; n < shards->node_count; n++) {
            outer.node = &shards->node[n];
            outer.dw = (float *)args->dweight + n * args->node_stride;
            finite &= LS_NAME(ls_dense_outer_products)(&outer);
        }
    }
    return finite;
}

/* The inputs of which a row of dw has to be computed, into `list`: those not 0 in all rows, or all. Returns
 * how many there are. */
static int64_t needed_inputs(const ls_dense_args *args, const ls_shards *shards, uint32_t *bits,
                             int32_t *list) {
    const int64_t rows = ls_shards_rows(shards);
    uint32_t all = 0;
    int64_t count = 0;
    memset(bits, 0, (size_t)args->inputs * sizeof *bits);
    for (int s = 0; s < shards->count; s++) {
        const notes *n = notes_of(args, rows, s);
        all |= !n->finite;
        for (int64_t c = 0; c < args->inputs; c++) bits[c] |= n->nonzero[c];
    }
    for (int64_t c = 0; c < args->inputs; c++) {
        list[count] = (int32_t)c;
        count += (bits[c] | all) != 0;
    }
    return count;
}

/* All parts have equal shares of the tiles of inputs that are not left out, with those left out before each;
 * the last one has those behind too. */
static bool weight_grad(const ls_dense_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    const int64_t parts = weight_grad_parts(args), rows = ls_shards_rows(shards);
    const float *x = args->in.stored ? args->in.stored : args->in.x, *dy = gradient_of_y(args);
    if (first >= last) return true;
    scratch_parts s;
    split_scratch(args, rows, lane->scratch, &s);
    const int64_t count = needed_inputs(args, shards, s.bits, s.terms);
    const int64_t tiles = (count + LS_DENSE_TILE - 1) / LS_DENSE_TILE;
    const int64_t begin = smaller(first * tiles / parts * LS_DENSE_TILE, count);
    const int64_t end = smaller(last * tiles / parts * LS_DENSE_TILE, count);
    int64_t from = begin > 0 ? s.terms[begin - 1] + 1 : 0; /* the first input not yet written */
    for (int64_t i = begin; i < end; from = s.terms[i++] + 1) clear_rows(args, shards, from, s.terms[i]);
    if (last == parts) clear_rows(args, shards, from, args->inputs);
    bool finite = multiply_inputs(args, shards, x, args->packed, s.terms + begin, end - begin, s.packed);
    for (int n = 0; first == 0 && args->dbias && n < shards->node_count; n++) {
        float *db = (float *)args->dbias + n * args->node_stride;
        bias_gradient(shards, &shards->node[n], dy, args->outputs, db);
        finite &= ls_all_finite_f32(db, args->outputs);
    }
    return finite;
}

const ls_dense_kernels LS_NAME(ls_dense_vector) = {
    .folds = ls_folds_any,
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .weight_grad_parts = weight_grad_parts,
    .weight_grad = weight_grad,
};
