#include "core/real.h"
#include "layers/input/input.h"

static void convert(const uint8_t *image, int64_t count, bool unit, void *out, int64_t at) {
    real *to = (real *)out + at;
    if (unit)
        for (int64_t i = 0; i < count; i++) to[i] = (real)image[i] / 255;
    else
        for (int64_t i = 0; i < count; i++) to[i] = (real)image[i];
}

static void perturb(const int8_t *sign, double epsilon, int64_t count, bool unit, void *out, int64_t at) {
    real *to = (real *)out + at;
    const real most = unit ? 1 : 255, step = (real)epsilon * most;
    for (int64_t i = 0; i < count; i++) {
        real v = to[i] + step * (real)sign[i];
        v = v > 0 ? v : 0;
        to[i] = v < most ? v : most;
    }
}

static void signs(const void *gradient, int64_t count, int8_t *sign) {
    const real *g = gradient;
    for (int64_t i = 0; i < count; i++) sign[i] = (int8_t)((g[i] > 0) - (g[i] < 0));
}

const ls_input_kernels LS_NAME(ls_input_ref) = {convert, perturb, signs};
