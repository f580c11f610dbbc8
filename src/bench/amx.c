/* Products of tiles of bf16 (16 x 32 by 32 x 16, added to 16 x 16 of fp32) on the matrix unit, without
 * memory: four accumulating tiles, so that none waits for itself. */
#include "bench/ceilings.h"

#ifdef __x86_64__
#include "core/tiles.h"

__attribute__((target("amx-tile,amx-bf16"))) static double multiply_tiles(int64_t rounds) {
    enum { TILES = 6 };
    ls_tile_shapes shapes = {0};
    for (int i = 0; i < TILES; i++) ls_tile_shape(&shapes, i, LS_TILE_ROWS, LS_TILE_WORDS);
    LS_TILES_CONFIGURE(&shapes); /* which clears them */
    for (int64_t n = 0; n < rounds; n++) {
        LS_TILE_MULTIPLY(0, 4, 5);
        LS_TILE_MULTIPLY(1, 4, 5);
        LS_TILE_MULTIPLY(2, 4, 5);
        LS_TILE_MULTIPLY(3, 4, 5);
    }
    LS_TILES_RELEASE();
    return 2.0 * 4 * LS_TILE_ROWS * LS_TILE_TERMS * LS_TILE_ROWS * (double)rounds;
}

ls_register_loop ls_amx_loop(void) {
    return ls_instruction_set_supported() >= LS_AMX ? multiply_tiles : NULL;
}

#else

ls_register_loop ls_amx_loop(void) {
    return NULL;
}

#endif
