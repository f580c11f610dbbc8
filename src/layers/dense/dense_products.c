/* The register-blocked products of the dense layer, for AVX2 and AVX-512: one packed panel of b, at most 16 KB,
 * which stays in L1, by all rows of a.
 *
 *     for each tile of ROWS rows n       ROWS x VECTORS sums in registers
 *         for each term t                VECTORS loads of b and, for all sums of the tile, ROWS broadcasts
 *                                        of a: fewer than the load ports can do
 *
 * A tile of sums rests in out between two panels: one accumulator for each sum. */
#include "layers/dense/dense_vector.h"

#include "layers/dense/dense_tile.h"

enum {
    STRIDE = 16 /* terms between two rows that are fetched: of more at a time the processor waits for lines */
};

/* s += a[.. term i] b[term i ..] */
ALWAYS_INLINE void add_products(const ls_dense_product *p, int64_t row, int64_t i, int rows, int vectors,
                                vec s[][VECTORS]) {
    const float *b = p->b + i * vectors * LANES;
    /* every third row by an address of its own, those between at one and two strides from it */
    const float *third = p->a + row * p->a_row + p->term[i];
    vec bv[VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) bv[v] = keep(load(b + v * LANES));
    UNROLL for (int r = 0; r < rows; r++) {
        if (r > 0 && r % 3 == 0) third += 3 * p->a_row;
        if (r % 3 == 0) __asm__("" : "+r"(third));
        const vec av = broadcast(third[r % 3 * p->a_row]);
        UNROLL for (int v = 0; v < vectors; v++) s[r][v] = multiply_add(av, bv[v], s[r][v]);
    }
}

/* Fetches rows of what will be packed next, from `fetched` on, beside it. rows and vectors are constants wherever
 * this is called. */
ALWAYS_INLINE void product_tile(const ls_dense_product *p, int64_t row, int64_t fetched, int rows,
                                int vectors) {
    const lanes some = first_lanes(smaller(LANES, p->columns));
    const bool whole = vectors == VECTORS;
    float *out = p->out + row * p->out_row;
    vec s[NARROW_ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        const float *from = out + r * p->out_row + v * LANES;
        s[r][v] = !p->continued ? broadcast(0) : whole ? load(from) : load_lanes(from, some);
    }
    for (int64_t i = 0; i < p->terms; fetched++) {
        const ls_dense_rows *next = &p->next;
        if (fetched < next->rows)
            fetch(next->from + (next->at ? next->at[fetched] : fetched) * next->row, next->columns);
        for (const int64_t end = smaller(i + STRIDE, p->terms); i < end; i++)
            add_products(p, row, i, rows, vectors, s);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        float *to = out + r * p->out_row + v * LANES;
        const vec sum = p->last ? add(s[r][v], broadcast(0)) : s[r][v];
        if (whole)
            store(to, sum);
        else
            store_lanes(to, some, sum);
    }
}

typedef void (*product_function)(const ls_dense_product *p, int64_t row, int64_t fetched);

#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define PRODUCT(rows)                                                                                        \
    static void product_whole_##rows(const ls_dense_product *p, int64_t row, int64_t fetched) {              \
        product_tile(p, row, fetched, rows < ROWS ? rows : ROWS, VECTORS);                                   \
    }                                                                                                        \
    static void product_narrow_##rows(const ls_dense_product *p, int64_t row, int64_t fetched) {             \
        product_tile(p, row, fetched, rows, 1);                                                              \
    }
EACH_ROWS(PRODUCT)
#define WHOLE(rows)  product_whole_##rows,
#define NARROW(rows) product_narrow_##rows,

void LS_NAME(ls_dense_multiply)(const ls_dense_product *p) {
    static const product_function whole[] = {EACH_ROWS(WHOLE)}, narrow[] = {EACH_ROWS(NARROW)};
    const int64_t tallest = p->columns == COLUMNS ? ROWS : NARROW_ROWS;
    const int64_t tiles = (p->rows + tallest - 1) / tallest;
    for (int64_t i = 0, row = 0, next; i < tiles; i++, row = next) { /* of nearly equal height */
        next = (i + 1) * p->rows / tiles;
        (p->columns == COLUMNS ? whole : narrow)[next - row - 1](p, row, i * (p->terms / STRIDE + 1));
    }
}
