/* What the products of the reference kernels are made of: a tile of sums that stays in registers.
 *
 * A tile is TILE_ROWS x LS_TILE_VECTORS registers of 16 bytes; whoever includes this header says how many
 * vectors first (3 fill the 16 registers of the smallest x86-64 best, 2 waste less where there are only 16
 * columns). Vectors of the compiler rather than intrinsics: AArch64 has the same registers, elsewhere they
 * are split. Elements of a vector never meet, so this says nothing about the order of a sum. The loops are
 * not unrolled: all 16 registers are taken, and gcc spills if asked to (38 GFLOP/s become 27). */
#ifndef LOCKSTEP_LAYERS_TILE_REF_H
#define LOCKSTEP_LAYERS_TILE_REF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/fused.h"
#include "core/real.h"
#include "core/shards.h"

enum {
    LANES = 16 / (int)sizeof(real),
    TILE_ROWS = 4,
    TILE_VECTORS = LS_TILE_VECTORS,
    TILE_COLUMNS = TILE_VECTORS * LANES
};

typedef real vec __attribute__((vector_size(16)));
typedef real vec_in_memory __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));

typedef struct tile {
    vec v[TILE_ROWS][TILE_VECTORS];
} tile;

/* Functions whose `rows` must be a constant after inlining, or the tile does not stay in registers. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

ALWAYS_INLINE int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

ALWAYS_INLINE vec load(const real *p) {
    return *(const vec_in_memory *)p;
}

ALWAYS_INLINE void store(real *p, vec v) {
    *(vec_in_memory *)p = v;
}

ALWAYS_INLINE vec factor(vec x) {
#ifdef LS_BF16
    return ls_bf16_of4(x);
#else
    return x;
#endif
}

/* sum + a b, rounded once in fp32, twice in fp64. */
ALWAYS_INLINE vec fused(vec a, vec b, vec sum) {
#ifdef LS_F64
    return sum + a * b;
#else
    return ls_multiply_add4(a, b, sum);
#endif
}

ALWAYS_INLINE vec all(real x) {
    const vec zero = {0};
    return zero + x;
}

/* With factor() of a and b, sum[r][j] += a[t a_step + r a_row] * b[t b_step + j] over t = 0, 1, .. n - 1; no
 * element beyond is read. */
ALWAYS_INLINE void multiply_add(vec (*sum)[TILE_VECTORS], int rows, const real *a, int64_t a_step,
                                int64_t a_row, const real *b, int64_t b_step, int64_t n) {
    tile s;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++) s.v[r][v] = sum[r][v];
    for (int64_t t = 0; t < n; t++, a += a_step, b += b_step)
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < TILE_VECTORS; v++)
                s.v[r][v] = fused(factor(all(a[r * a_row])), factor(load(b + v * LANES)), s.v[r][v]);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++) sum[r][v] = s.v[r][v];
}

/* sum = pending + sum, in that order: a step of the tree over shards. */
ALWAYS_INLINE void merge(tile *sum, int rows, const tile *pending) {
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++) sum->v[r][v] = pending->v[r][v] + sum->v[r][v];
}

/* The tile to or from rows of a matrix, its first `columns` columns. */
ALWAYS_INLINE void load_tile(tile *s, int rows, const real *from, int64_t stride, int64_t columns) {
    for (int r = 0; r < rows; r++, from += stride) {
        real row[TILE_COLUMNS] = {0};
        const real *p = columns == TILE_COLUMNS ? from : memcpy(row, from, (size_t)columns * sizeof(real));
        for (int v = 0; v < TILE_VECTORS; v++) s->v[r][v] = load(p + v * LANES);
    }
}

ALWAYS_INLINE void store_tile(const tile *s, int rows, real *to, int64_t stride, int64_t columns) {
    for (int r = 0; r < rows; r++, to += stride) {
        real row[TILE_COLUMNS];
        real *p = columns == TILE_COLUMNS ? to : row;
        for (int v = 0; v < TILE_VECTORS; v++) store(p + v * LANES, s->v[r][v]);
        if (p == row) memcpy(to, row, (size_t)columns * sizeof(real));
    }
}

/* rows vectors of which `columns` elements count, side by side and padded with zeros to TILE_COLUMNS. */
static inline void pad_columns(const real *from, int64_t stride, int64_t rows, int64_t columns, real *to) {
    for (int64_t r = 0; r < rows; r++, from += stride, to += TILE_COLUMNS) {
        memcpy(to, from, (size_t)columns * sizeof(real));
        memset(to + columns, 0, (size_t)(TILE_COLUMNS - columns) * sizeof(real));
    }
}

/* Columns [column, column + columns) of the bias gradient of a node: sums of dy [rows][pixels][channels] over
 * each row from 0, over the rows of each shard from 0, over the shards by the tree. At most TILE_COLUMNS
 * columns. */
static inline void bias_gradient(const ls_shards *shards, const ls_node *node, const real *dy, int64_t pixels,
                                 int64_t channels, int64_t column, int64_t columns, real *db) {
    real pending[LS_MAX_TREE_DEPTH][TILE_COLUMNS];
    int depth = 0;
    for (int i = 0; i < node->count; i++) {
        const int64_t *start = &shards->start[node->first - shards->first + i];
        real sum[TILE_COLUMNS] = {0};
        for (int64_t n = start[0]; n < start[1]; n++) {
            const real *from = dy + n * pixels * channels + column;
            real row[TILE_COLUMNS] = {0};
            for (int64_t p = 0; p < pixels; p++, from += channels)
                for (int64_t k = 0; k < columns; k++) row[k] += from[k];
            for (int64_t k = 0; k < columns; k++) sum[k] += row[k];
        }
        for (int m = ls_tree_merges(i); m > 0; m--) {
            depth--;
            for (int k = 0; k < TILE_COLUMNS; k++) sum[k] = pending[depth][k] + sum[k];
        }
        memcpy(pending[depth++], sum, sizeof sum);
    }
    memcpy(db + column, pending[0], (size_t)columns * sizeof(real));
}

/* Zeroes the sums [2][channels] of shards [first, last), where there are any. */
static inline void clear_sums(double *sums, int64_t channels, int first, int last) {
    if (sums)
        memset(sums + 2 * channels * first, 0, (size_t)(2 * channels * (last - first)) * sizeof(double));
}

#endif
