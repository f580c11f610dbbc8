#include "core/real.h"
#include "layers/flatten/flatten.h"

static void flatten_forward(const void *x, int64_t pixels, int64_t channels, int64_t first, int64_t last,
                            void *y, const ls_lane *lane) {
    (void)lane;
    for (int64_t r = first; r < last; r++) {
        const real *from = (const real *)x + r * pixels * channels;
        real *to = (real *)y + r * pixels * channels;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < pixels; p++) to[c * pixels + p] = from[p * channels + c];
    }
}

static void flatten_backward(const void *dy, int64_t pixels, int64_t channels, bool accumulate, int64_t first,
                             int64_t last, void *dx, const ls_lane *lane) {
    (void)lane;
    for (int64_t r = first; r < last; r++) {
        const real *from = (const real *)dy + r * pixels * channels;
        real *to = (real *)dx + r * pixels * channels;
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++) {
                const real g = from[c * pixels + p];
                to[p * channels + c] = accumulate ? to[p * channels + c] + g : g;
            }
    }
}

const ls_row_kernels LS_NAME(ls_flatten_ref) = {flatten_forward, flatten_backward};
