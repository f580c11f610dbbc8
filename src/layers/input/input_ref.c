#include "core/real.h"
#include "layers/input/input.h"

static void convert(const uint8_t *image, int64_t count, bool unit, void *out, int64_t at) {
    real *to = (real *)out + at;
    if (unit)
        for (int64_t i = 0; i < count; i++) to[i] = (real)image[i] / 255;
    else
        for (int64_t i = 0; i < count; i++) to[i] = (real)image[i];
}

const ls_input_kernels LS_NAME(ls_input_ref) = {convert};
