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

static void signs(const void *gradient, int64_t count, int8_t *sign, const ls_lane *lane) {
    (void)lane;
    const real *g = gradient;
    for (int64_t i = 0; i < count; i++) sign[i] = (int8_t)((g[i] > 0) - (g[i] < 0));
}

/* The images of a batch lie anywhere in the data set, out of every cache. */
enum { AHEAD = 2, LINE = 64 };

static void fetch(const uint8_t *image, int64_t count) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(image + i);
}

/* An image, and what augmentation needs. */
static size_t image_bytes(int height, int width) {
    return ((size_t)height * (size_t)width + 63) / 64 * 64;
}

static size_t scratch_bytes(int height, int width) {
    return image_bytes(height, width) + LS_NAME(ls_augment).scratch_bytes(height, width);
}

static void forward(const ls_input_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const int64_t count = (int64_t)a->height * a->width, end = shards->start[last];
    uint8_t *augmented = lane->scratch;
    for (int64_t row = shards->start[first]; row < end; row++) {
        const uint8_t *image = a->images + a->sample[row] * count;
        if (row + AHEAD < end) fetch(a->images + a->sample[row + AHEAD] * count, count);
        if (a->augmentation->probability > 0) {
            LS_NAME(ls_augment)
                .augment(a->augmentation, a->seed, a->epoch, a->sample[row], image, a->height, a->width,
                         augmented, augmented + image_bytes(a->height, a->width));
            image = augmented;
        }
        convert(image, count, a->unit, a->out, row * count);
        if (a->sign) perturb(a->sign + row * count, a->epsilon, count, a->unit, a->out, row * count);
    }
}

const ls_input_kernels LS_NAME(ls_input_ref) = {scratch_bytes, forward, convert, perturb, signs};
