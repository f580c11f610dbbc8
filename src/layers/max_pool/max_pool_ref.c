#include "layers/max_pool/max_pool.h"
#include "layers/pooling_ref.h"

/* PyTorch's comparison: of equal numbers the first stays, a NaN always wins. */
static inline bool wins(real v, real over) {
    return v > over || v != v;
}

static void forward_image(const ls_pool_args *a, const real *x, real *y) {
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, y += a->channels) {
            const taps lines = taps_of(&a->window, i, a->height), columns = taps_of(&a->window, j, a->width);
            memcpy(y, x + (lines.first * a->width + columns.first) * a->channels,
                   (size_t)a->channels * sizeof(real));
            for (int64_t h = lines.first; h < lines.last; h++)
                for (int64_t w = columns.first; w < columns.last; w++) {
                    const real *v = x + (h * a->width + w) * a->channels;
                    for (int64_t c = 0; c < a->channels; c++) y[c] = wins(v[c], y[c]) ? v[c] : y[c];
                }
        }
}

/* The pixel of the window whose value of channel c is y. */
static int64_t find_maximum(const ls_pool_args *a, taps lines, taps columns, const real *x, int64_t c) {
    int64_t at = lines.first * a->width + columns.first;
    for (int64_t h = lines.first; h < lines.last; h++)
        for (int64_t w = columns.first; w < columns.last; w++)
            if (wins(x[(h * a->width + w) * a->channels + c], x[at * a->channels + c])) at = h * a->width + w;
    return at;
}

static void add_to_all(const ls_pool_args *a, taps lines, taps columns, const real *x, int64_t c, real dy,
                       real *dx) {
    const real y = x[find_maximum(a, lines, columns, x, c) * a->channels + c];
    for (int64_t h = lines.first; h < lines.last; h++)
        for (int64_t w = columns.first; w < columns.last; w++) {
            const int64_t at = (h * a->width + w) * a->channels + c;
            if (x[at] == y || (x[at] != x[at] && y != y)) dx[at] += dy;
        }
}

static void backward_image(const ls_pool_args *a, const real *x, const real *dy, real *dx) {
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, dy += a->channels) {
            const taps lines = taps_of(&a->window, i, a->height), columns = taps_of(&a->window, j, a->width);
            for (int64_t c = 0; c < a->channels; c++) {
                if (a->window.ties == LS_TIES_ALL)
                    add_to_all(a, lines, columns, x, c, dy[c], dx);
                else
                    dx[find_maximum(a, lines, columns, x, c) * a->channels + c] += dy[c];
            }
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

const ls_pool_kernels LS_NAME(ls_max_pool_ref) = {forward, backward};
