#include "core/real.h"
#include "layers/residual/residual.h"

static void add_forward(const void *a, const void *b, int64_t first, int64_t last, void *y,
                        const ls_lane *lane) {
    (void)lane;
    const real *x = a, *r = b;
    real *out = y;
    for (int64_t i = first; i < last; i++) out[i] = x[i] + r[i];
}

static void add_backward(const void *dy, bool accumulate, int64_t first, int64_t last, void *dx,
                         const ls_lane *lane) {
    (void)lane;
    const real *from = dy;
    real *to = dx;
    if (accumulate)
        for (int64_t i = first; i < last; i++) to[i] += from[i];
    else
        for (int64_t i = first; i < last; i++) to[i] = from[i];
}

const ls_add_kernels LS_NAME(ls_add_ref) = {add_forward, add_backward};
