#include "amx/naive_tiles.h"

#include <string.h>

#include "amx/emulated_tiles.h"

/* Bits and all; to nearest, ties to even. */
static float to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float naive_step(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n, float sum) {
    float part[2] = {0, 0};
    for (int64_t i = 0; i < n; i++)
        part[i % 2] = emulated_multiply_add(to_bf16(a[i * a_next]), to_bf16(b[i * b_next]), part[i % 2]);
    if (n % 2 != 0) part[1] = emulated_multiply_add(0, 0, part[1]);
    return emulated_add(sum, emulated_add(part[1], part[0]));
}

float naive_tile_sum(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n) {
    enum { STEP = 32 };
    float sum = 0;
    for (int64_t i = 0; i < n; i += STEP)
        sum = naive_step(a + i * a_next, a_next, b + i * b_next, b_next, n - i < STEP ? n - i : STEP, sum);
    return sum;
}
