/* Products of tiles of bf16 (16 x 32 by 32 x 16, added to 16 x 16 of fp32) on the matrix unit, without
 * memory: four accumulating tiles, so that none waits for itself. */
#define _GNU_SOURCE /* syscall */
#include "bench/ceilings.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TILES = 6, ROWS = 16, ROW_BYTES = 64 };

/* Intel's manual, volume 1, section 18.3: how LDTILECFG reads its 64 bytes. */
typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

__attribute__((target("amx-tile,amx-bf16"))) static double multiply_tiles(int64_t rounds) {
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < TILES; i++) {
        shapes.row_bytes[i] = ROW_BYTES;
        shapes.rows[i] = ROWS;
    }
    _tile_loadconfig(&shapes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (int64_t n = 0; n < rounds; n++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_release();
    return 2.0 * 4 * 16 * 32 * 16 * (double)rounds;
}

/* The processor has tiles and bf16 on them (CPUID 7, EDX bits 24 and 22), the system saves them, and lets us
 * (Linux wants to be asked: ARCH_REQ_XCOMP_PERM for state component 18, Documentation/x86/xstate.rst). */
static int amx_allowed(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 22 & 1)) return 0;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

ls_register_loop ls_amx_loop(void) {
    return amx_allowed() ? multiply_tiles : NULL;
}

#else

ls_register_loop ls_amx_loop(void) {
    return NULL;
}

#endif
