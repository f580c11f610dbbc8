/* AMX's tiles in plain C, after the pseudo-code of Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBF16PS, TILERELEASE. Included before the
 * sources of the kernels, it puts itself in the place of their intrinsics. What the processor would fault on
 * ends the program with a message. */
#ifndef LOCKSTEP_TESTS_AMX_EMULATED_TILES_H
#define LOCKSTEP_TESTS_AMX_EMULATED_TILES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

void emulated_tile_configure(const void *shapes);
void emulated_tile_release(void);
void emulated_tile_zero(int tile);
void emulated_tile_load(int tile, const void *from, int64_t stride); /* stride in bytes */
void emulated_tile_store(int tile, void *to, int64_t stride);
void emulated_tile_multiply(int c, int a, int b);

/* Of the calling thread: are its tiles configured, and how often has it multiplied tiles? */
bool emulated_tiles_in_use(void);
int64_t emulated_tile_products(void);

/* a b + c and a + b, rounded once, with denormal operands and results as 0. */
float emulated_multiply_add(float a, float b, float c);
float emulated_add(float a, float b);

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(shapes)        emulated_tile_configure(shapes)
#define _tile_release()                 emulated_tile_release()
#define _tile_zero(tile)                emulated_tile_zero(tile)
#define _tile_loadd(tile, from, stride) emulated_tile_load(tile, from, stride)
#define _tile_stored(tile, to, stride)  emulated_tile_store(tile, to, stride)
#define _tile_dpbf16ps(c, a, b)         emulated_tile_multiply(c, a, b)

#endif
