/* AMX's tiles: eight registers of up to 16 rows of up to 64 bytes, each with the shape that a configuration
 * gives it. TDPBF16PS adds to c [rows][columns], fp32, the product of a [rows][words] and b [words][columns],
 * whose words hold two bf16 numbers each: c[m][n] += (sum over the words w of a[m][w].low b[w][n].low) + (the
 * same of .high), both sums from 0 over w in increasing order by fused multiply-adds, then added, then added
 * to c; always to nearest, ties to even, with denormal operands and results taken for 0 (Intel 64 and IA-32
 * Architectures Software Developer's Manual, volume 2, TDPBF16PS, "Operation"; LDTILECFG for the
 * configuration).
 *
 * For files compiled with LS_FOR_AMX (core/real.h) and functions for its targets. Tests run the kernels on
 * tiles emulated in C (tests/amx), which are compared with the processor's where it has them. */
#ifndef LOCKSTEP_CORE_TILES_H
#define LOCKSTEP_CORE_TILES_H

#include <immintrin.h>
#include <stdint.h>

enum {
    LS_TILE_ROWS = 16,  /* at most; of a and c, and columns of b and c */
    LS_TILE_WORDS = 16, /* at most; in a row of a, and rows of b */
    LS_TILE_TERMS = 32  /* two in a word */
};

/* What LDTILECFG reads. */
typedef struct ls_tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} ls_tile_shapes;

static inline void ls_tile_shape(ls_tile_shapes *shapes, int tile, int64_t rows, int64_t words) {
    shapes->palette = 1;
    shapes->rows[tile] = (uint8_t)rows;
    shapes->row_bytes[tile] = (uint16_t)(4 * words);
}

/* The compiler's intrinsics do not all say that they read memory (those of gcc 12 do not): it must have been
 * written. */
#define LS_TILE_WRITTEN(p) __asm__ volatile("" : : "r"(p) : "memory")

/* A thread's tiles, all zero, with these shapes, until they are released. It may configure them anew. */
#define LS_TILES_CONFIGURE(shapes)                                                                           \
    do {                                                                                                     \
        LS_TILE_WRITTEN(shapes);                                                                             \
        _tile_loadconfig(shapes);                                                                            \
    } while (0)
#define LS_TILES_RELEASE() _tile_release()

/* Tiles are named by literal numbers; distances between rows are in floats or words. */
#define LS_TILE_ZERO(tile) _tile_zero(tile)
#define LS_TILE_LOAD(tile, from, distance)                                                                   \
    do {                                                                                                     \
        LS_TILE_WRITTEN(from);                                                                               \
        _tile_loadd(tile, from, 4 * (distance));                                                             \
    } while (0)
#define LS_TILE_STORE(tile, to, distance) _tile_stored(tile, to, 4 * (distance))
#define LS_TILE_MULTIPLY(c, a, b)         _tile_dpbf16ps(c, a, b)

#endif
