#include <string.h>

#include "core/real.h"
#include "layers/elementwise.h"
#include "layers/fusion_ref.h"

static int64_t row_elements(int64_t pixels, int64_t channels) {
    return pixels * channels;
}

static void forward(const ls_prologue *in, const ls_shards *shards, int first, int last, void *out,
                    const ls_lane *lane) {
    (void)lane;
    int64_t row = shards->start[first], rows = shards->start[last] - row;
    LS_NAME(ls_prologue_rows)(in, row, rows, (real *)out + row * row_elements(in->pixels, in->channels));
}

static void clear(double *sums, int64_t channels, int shard) {
    if (sums) memset(sums + 2 * channels * shard, 0, (size_t)(2 * channels) * sizeof *sums);
}

static void backward(const ls_prologue *in, const ls_grad_epilogue *dx, const ls_shards *shards, int first,
                     int last, const void *gradient, const ls_lane *lane) {
    ls_grad_epilogue e = *dx;
    e.room = lane->scratch;
    for (int s = first; s < last; s++) {
        int64_t row = shards->start[s], rows = shards->start[s + 1] - row;
        clear(dx->sums, in->channels, s);
        clear(dx->residual_sums, in->channels, s);
        LS_NAME(ls_grad_epilogue_rows)
        (in, &e, s, row, rows, (const real *)gradient + row * row_elements(in->pixels, in->channels));
    }
}

/* Accumulating goes through a block on the stack, so that the arithmetic stays the prologue's. */
static void add_rows(const ls_grad_prologue *dy, int64_t row, int64_t rows, real *out) {
    enum { BLOCK = 256 };
    real block[BLOCK];
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t p = 0; p < dy->pixels; p++)
            for (int64_t c = 0; c < dy->channels; c += BLOCK) {
                int64_t n = dy->channels - c < BLOCK ? dy->channels - c : BLOCK;
                int64_t at = (r * dy->pixels + p) * dy->channels + c;
                ls_grad_prologue part = {.pixels = 1, .channels = n, .dz = (const real *)dy->dz + at};
                if (dy->a) {
                    part.y = (const real *)dy->y + at;
                    part.mean = (const real *)dy->mean + c;
                    part.a = (const real *)dy->a + c;
                    part.b = (const real *)dy->b + c;
                    part.c = (const real *)dy->c + c;
                }
                LS_NAME(ls_grad_prologue_rows)(&part, 0, 1, block);
                for (int64_t i = 0; i < n; i++) out[at + i] += block[i];
            }
}

static void normalised_gradient(const ls_grad_prologue *dy, bool accumulate, const ls_shards *shards,
                                int first, int last, void *out, const ls_lane *lane) {
    (void)lane;
    int64_t row = shards->start[first], rows = shards->start[last] - row;
    if (accumulate)
        add_rows(dy, row, rows, out);
    else
        LS_NAME(ls_grad_prologue_rows)
    (dy, row, rows, (real *)out + row * row_elements(dy->pixels, dy->channels));
}

const ls_elementwise_kernels LS_NAME(ls_elementwise_ref) = {forward, backward, normalised_gradient,
                                                            ls_folds_any, NULL};
