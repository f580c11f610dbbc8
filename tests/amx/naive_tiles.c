#include "amx/naive_tiles.h"

#include <stdlib.h>
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

float naive_tile_sum(const float *a, int64_t a_next, const float *b, int64_t b_next, int64_t n, float sum) {
    enum { STEP = 32 };
    for (int64_t i = 0; i < n; i += STEP)
        sum = naive_step(a + i * a_next, a_next, b + i * b_next, b_next, n - i < STEP ? n - i : STEP, sum);
    return sum;
}

/* --- convolution ------------------------------------------------------------------------------- */

static float at(const float *image, int64_t height, int64_t width, int64_t channels, int64_t h, int64_t w,
                int64_t c) {
    return h < 0 || h >= height || w < 0 || w >= width ? 0 : image[(h * width + w) * channels + c];
}

/* The sum over a window of 3x3 at line h and pixel w of an image, by factors factor[(u 3 + v) channels + c].
 */
static float window_sum(const float *image, int64_t height, int64_t width, int64_t channels, int64_t h,
                        int64_t w, const float *factor) {
    const int64_t taps_together = channels == 16 ? 2 : 1;
    float terms[32], sum = 0;
    for (int64_t u = 0; u < 3; u++)
        for (int64_t v = 0; v < 3; v += taps_together)
            for (int64_t first = 0; first < channels; first += 32) {
                int64_t n = 0;
                for (int64_t t = v; t < v + taps_together && t < 3; t++)
                    for (int64_t c = first; c < channels && c < first + 32; c++)
                        terms[n++] = at(image, height, width, channels, h + u, w + t, c);
                sum = naive_step(terms, 1, factor + (u * 3 + v) * channels + first, 1, n, sum);
            }
    return sum;
}

void naive_tile_forward(tile_shape s, const float *weight, const float *x, float *y) {
    float *factor = calloc((size_t)(9 * s.inputs), sizeof *factor);
    if (!factor) abort();
    for (int64_t k = 0; k < s.outputs; k++) {
        for (int64_t i = 0; i < 9 * s.inputs; i++) factor[i] = weight[i * s.outputs + k];
        for (int64_t i = 0; i < s.out_height; i++)
            for (int64_t j = 0; j < s.out_width; j++)
                y[(i * s.out_width + j) * s.outputs + k] =
                    window_sum(x, s.height, s.width, s.inputs, i - s.pad, j - s.pad, factor);
    }
    free(factor);
}

void naive_tile_backward(tile_shape s, const float *weight, const float *dy, float *dx) {
    float *factor = calloc((size_t)(9 * s.outputs), sizeof *factor);
    if (!factor) abort();
    for (int64_t c = 0; c < s.inputs; c++) {
        for (int64_t tap = 0; tap < 9; tap++)
            for (int64_t k = 0; k < s.outputs; k++)
                factor[tap * s.outputs + k] = weight[((8 - tap) * s.inputs + c) * s.outputs + k];
        for (int64_t h = 0; h < s.height; h++)
            for (int64_t w = 0; w < s.width; w++)
                dx[(h * s.width + w) * s.inputs + c] = window_sum(dy, s.out_height, s.out_width, s.outputs,
                                                                  h + s.pad - 2, w + s.pad - 2, factor);
    }
    free(factor);
}

/* The pixels that a step of dw counts, zeros and all: lines of s.out_width + 2, rounded up to pairs. */
static int64_t line_of(tile_shape s) {
    return (s.out_width + 3) / 2 * 2;
}

/* Channel c of an image's pixels for one tap, at [line][line_of]; of y the tap is (0, 0) and pad 0. */
static void lay_lines(tile_shape s, const float *image, int64_t height, int64_t width, int64_t channels,
                      int64_t c, int64_t up, int64_t left, float *to) {
    for (int64_t i = 0; i < s.out_height; i++)
        for (int64_t j = 0; j < s.out_width; j++)
            to[i * line_of(s) + j] = at(image, height, width, channels, i + up, j + left, c);
}

void naive_tile_gradient(tile_shape s, int64_t rows, const float *x, const float *dy, float *dweight) {
    const int64_t room = s.out_height * line_of(s);
    const int64_t pixels = (s.out_height - 1) * line_of(s) + (s.out_width + 1) / 2 * 2;
    const int64_t x_size = s.height * s.width * s.inputs, y_size = s.out_height * s.out_width * s.outputs;
    float *a = calloc((size_t)(2 * room), sizeof *a), *b = a + room;
    if (!a) abort();
    memset(dweight, 0, (size_t)(9 * s.inputs * s.outputs) * sizeof *dweight);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t tap = 0; tap < 9; tap++)
            for (int64_t c = 0; c < s.inputs; c++) {
                lay_lines(s, x + row * x_size, s.height, s.width, s.inputs, c, tap / 3 - s.pad,
                          tap % 3 - s.pad, a);
                for (int64_t k = 0; k < s.outputs; k++) {
                    float *sum = dweight + (tap * s.inputs + c) * s.outputs + k;
                    lay_lines(s, dy + row * y_size, s.out_height, s.out_width, s.outputs, k, 0, 0, b);
                    *sum = naive_tile_sum(a, 1, b, 1, pixels, *sum);
                }
            }
    free(a);
}
