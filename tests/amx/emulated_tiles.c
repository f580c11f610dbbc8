#include "amx/emulated_tiles.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TILES = 8, MOST_ROWS = 16, MOST_BYTES = 64 };

typedef struct tile {
    int rows, row_bytes;
    uint8_t data[MOST_ROWS][MOST_BYTES];
} tile;

static _Thread_local bool configured;
static _Thread_local tile tiles[TILES];
static _Thread_local int64_t products;

static _Noreturn void fault(const char *instruction, const char *why) {
    fprintf(stderr, "%s: %s\n", instruction, why);
    abort();
}

static void demand(bool holds, const char *instruction, const char *why) {
    if (!holds) fault(instruction, why);
}

static tile *tile_at(int index, const char *instruction) {
    demand(configured, instruction, "tiles are not configured");
    demand(index >= 0 && index < TILES, instruction, "no such tile");
    demand(tiles[index].rows > 0, instruction, "the tile is not configured");
    return &tiles[index];
}

/* Palette 1: byte 0 says so, byte 1 is the row to begin with, 16 .. 31 are the row sizes and 48 .. 55 the
 * rows of the tiles; all else has to be 0. */
void emulated_tile_configure(const void *shapes) {
    uint8_t bytes[64];
    memcpy(bytes, shapes, sizeof bytes);
    demand(bytes[0] == 1, "LDTILECFG", "a palette other than 1");
    demand(bytes[1] == 0, "LDTILECFG", "would restart in the middle of a tile");
    for (int i = 2; i < 64; i++)
        if (!(i >= 16 && i < 32) && !(i >= 48 && i < 56))
            demand(bytes[i] == 0, "LDTILECFG", "reserved bytes are not 0");
    for (int t = 0; t < TILES; t++) {
        const int row_bytes = bytes[16 + 2 * t] + 256 * bytes[17 + 2 * t], rows = bytes[48 + t];
        demand(row_bytes <= MOST_BYTES && rows <= MOST_ROWS, "LDTILECFG", "a tile is too large");
        demand((row_bytes == 0) == (rows == 0), "LDTILECFG", "a tile without rows or columns");
        tiles[t] = (tile){.rows = rows, .row_bytes = row_bytes};
    }
    configured = true;
}

void emulated_tile_release(void) {
    configured = false;
    memset(tiles, 0, sizeof tiles);
}

bool emulated_tiles_in_use(void) {
    return configured;
}

int64_t emulated_tile_products(void) {
    return products;
}

void emulated_tile_zero(int index) {
    tile *t = tile_at(index, "TILEZERO");
    memset(t->data, 0, sizeof t->data);
}

void emulated_tile_load(int index, const void *from, int64_t stride) {
    tile *t = tile_at(index, "TILELOADD");
    memset(t->data, 0, sizeof t->data);
    for (int r = 0; r < t->rows; r++)
        memcpy(t->data[r], (const char *)from + r * stride, (size_t)t->row_bytes);
}

void emulated_tile_store(int index, void *to, int64_t stride) {
    const tile *t = tile_at(index, "TILESTORED");
    for (int r = 0; r < t->rows; r++) memcpy((char *)to + r * stride, t->data[r], (size_t)t->row_bytes);
}

static float flushed(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

float emulated_multiply_add(float a, float b, float c) {
    return flushed(fmaf(flushed(a), flushed(b), flushed(c)));
}

float emulated_add(float a, float b) {
    return flushed(flushed(a) + flushed(b));
}

static float bf16_at(const uint8_t *row, int index) {
    uint8_t bytes[4] = {0, 0, row[2 * index], row[2 * index + 1]};
    float x;
    memcpy(&x, bytes, sizeof x);
    return x;
}

void emulated_tile_multiply(int c_index, int a_index, int b_index) {
    tile *c = tile_at(c_index, "TDPBF16PS");
    const tile *a = tile_at(a_index, "TDPBF16PS"), *b = tile_at(b_index, "TDPBF16PS");
    demand(c != a && c != b && a != b, "TDPBF16PS", "a tile stands for two operands");
    demand(c->row_bytes % 4 == 0 && a->row_bytes % 4 == 0, "TDPBF16PS", "rows of broken words");
    demand(a->rows == c->rows, "TDPBF16PS", "rows of a and c differ");
    demand(b->row_bytes == c->row_bytes, "TDPBF16PS", "columns of b and c differ");
    demand(a->row_bytes / 4 == b->rows, "TDPBF16PS", "columns of a differ from rows of b");
    for (int m = 0; m < c->rows; m++)
        for (int n = 0; n < c->row_bytes / 4; n++) {
            float low = 0, high = 0, sum;
            for (int k = 0; k < b->rows; k++) {
                low = emulated_multiply_add(bf16_at(a->data[m], 2 * k), bf16_at(b->data[k], 2 * n), low);
                high = emulated_multiply_add(bf16_at(a->data[m], 2 * k + 1), bf16_at(b->data[k], 2 * n + 1),
                                             high);
            }
            memcpy(&sum, &c->data[m][4 * n], sizeof sum);
            sum = emulated_add(sum, emulated_add(low, high));
            memcpy(&c->data[m][4 * n], &sum, sizeof sum);
        }
    products++;
}
