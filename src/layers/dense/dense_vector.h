/* The products of the dense layer's vector kernels (dense_products.c and dense_outer.c, for AMX dense_amx.c),
 * for one tier. With LS_PAIRS (core/real.h) a, b, x and dy hold words of two factors (dense_words.h), and
 * terms and rows of x and dy are counted in them. */
#ifndef LOCKSTEP_LAYERS_DENSE_VECTOR_H
#define LOCKSTEP_LAYERS_DENSE_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/real.h"
#include "core/shards.h"

/* Rows at[0], at[1], .. (or 0, 1, .. where that is NULL) of a matrix, the first columns of each. */
typedef struct ls_dense_rows {
    const float *from;
    int64_t row;
    const int32_t *at;
    int64_t rows, columns;
} ls_dense_rows;

/* out[n][j] = sum over the terms t, in their order, of a[n][term[t]] b[t][j] */
typedef struct ls_dense_product {
    const float *a; /* [rows], a_row elements apart */
    int64_t rows, a_row;
    const int32_t *term; /* [terms] increasing; with LS_TILES they are 0, 1, .. */
    const float *b;      /* [terms] packed as a panel (dense_tile.h) */
    int64_t terms;
    float *out; /* [rows], out_row elements apart */
    int64_t columns, out_row;
    bool continued;     /* out holds the sums over earlier terms */
    bool last;          /* no terms follow: a sum of -0 becomes 0, so that terms of 0 change nothing */
    ls_dense_rows next; /* will be packed next */
} ls_dense_product;

void LS_NAME(ls_dense_multiply)(const ls_dense_product *p);

/* dw[c][k] of a node for `inputs` inputs c by all outputs k: over the rows of a shard in increasing order
 * from 0, over the shards of the node by the tree. */
typedef struct ls_dense_outer {
    const ls_shards *shards;
    const ls_node *node;
    const float
        *x; /* the inputs' values of all local rows, tile by tile as ls_dense_pack_inputs() lays them */
    const int32_t *input; /* [inputs] their row of dw */
    int64_t inputs;       /* at most LS_DENSE_BLOCK */
    const float *dy; /* of all local rows, in panels: that from column c on begins at c times the rows, and
                        a shard at its first row */
    int64_t outputs;
    float *dw; /* [..][outputs] */
} ls_dense_outer;

enum { LS_DENSE_TILE = 12, LS_DENSE_BLOCK = 8 * LS_DENSE_TILE };

/* x [rows][x_row] of all local rows at the inputs `input` [inputs] -> packed [inputs, up to whole
 * tiles][rows]. */
void LS_NAME(ls_dense_pack_inputs)(const ls_shards *shards, const float *x, int64_t x_row,
                                   const int32_t *input, int64_t inputs, float *packed);
/* Returns whether all that it has written is finite. */
bool LS_NAME(ls_dense_outer_products)(const ls_dense_outer *o);

#endif
