#include "layers/average_pool/average_pool.h"
#include "layers/pooling_ref.h"

enum { BLOCK = 64 };

static double pixels_of(const ls_pool_args *a) {
    return (double)(a->window.kernel * a->window.kernel);
}

/* n <= BLOCK channels of a window whose sums fit on the stack */
static void average(const ls_pool_args *a, taps lines, taps columns, int64_t n, const real *x, real *y) {
    double sum[BLOCK] = {0};
    for (int64_t h = lines.first; h < lines.last; h++)
        for (int64_t w = columns.first; w < columns.last; w++)
            for (int64_t c = 0; c < n; c++) sum[c] += (double)x[(h * a->width + w) * a->channels + c];
    for (int64_t c = 0; c < n; c++) y[c] = (real)(sum[c] / pixels_of(a));
}

static void forward_image(const ls_pool_args *a, const real *x, real *y) {
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, y += a->channels) {
            const taps lines = taps_of(&a->window, i, a->height), columns = taps_of(&a->window, j, a->width);
            for (int64_t c = 0; c < a->channels; c += BLOCK) {
                const int64_t n = a->channels - c < BLOCK ? a->channels - c : BLOCK;
                average(a, lines, columns, n, x + c, y + c);
            }
        }
}

static void backward_image(const ls_pool_args *a, const real *x, const real *dy, real *dx) {
    const real pixels = (real)pixels_of(a);
    (void)x;
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, dy += a->channels) {
            const taps lines = taps_of(&a->window, i, a->height), columns = taps_of(&a->window, j, a->width);
            for (int64_t h = lines.first; h < lines.last; h++)
                for (int64_t w = columns.first; w < columns.last; w++)
                    for (int64_t c = 0; c < a->channels; c++)
                        dx[(h * a->width + w) * a->channels + c] += dy[c] / pixels;
        }
}

static void forward(const ls_pool_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    (void)lane;
    forward_images(a, shards, first, last, forward_image);
}

static void backward(const ls_pool_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    backward_images(a, shards, first, last, lane->scratch, backward_image);
}

const ls_pool_kernels LS_NAME(ls_average_pool_ref) = {forward, backward};
