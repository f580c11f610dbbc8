#include "core/real.h"
#include "layers/global_average_pool/global_average_pool.h"

enum { BLOCK = 64 };

/* n <= BLOCK channels whose sums fit on the stack */
static void average(const real *x, int64_t pixels, int64_t channels, int64_t n, real *y) {
    double sum[BLOCK] = {0};
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < n; c++) sum[c] += (double)x[p * channels + c];
    for (int64_t c = 0; c < n; c++) y[c] = (real)(sum[c] / (double)pixels);
}

static void global_average_pool_forward(const void *x, int64_t pixels, int64_t channels, int64_t first,
                                        int64_t last, void *y, const ls_lane *lane) {
    (void)lane;
    for (int64_t r = first; r < last; r++)
        for (int64_t c = 0; c < channels; c += BLOCK)
            average((const real *)x + r * pixels * channels + c, pixels, channels,
                    channels - c < BLOCK ? channels - c : BLOCK, (real *)y + r * channels + c);
}

static void global_average_pool_backward(const void *dy, int64_t pixels, int64_t channels, bool accumulate,
                                         int64_t first, int64_t last, void *dx, const ls_lane *lane) {
    (void)lane;
    for (int64_t r = first; r < last; r++)
        for (int64_t p = 0; p < pixels; p++) {
            const real *from = (const real *)dy + r * channels;
            real *to = (real *)dx + (r * pixels + p) * channels;
            for (int64_t c = 0; c < channels; c++) {
                const real g = from[c] / (real)pixels;
                to[c] = accumulate ? to[c] + g : g;
            }
        }
}

const ls_row_kernels LS_NAME(ls_global_average_pool_ref) = {global_average_pool_forward,
                                                            global_average_pool_backward};
