/* The table of layers/input/input.h for GPUs. */
#include "layers/input/input_cuda.h"

#include "core/rng.h"
#include "layers/input/input.h"

static size_t scratch_bytes(int height, int width) {
    (void)height;
    (void)width;
    return 0;
}

static void forward(const ls_input_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const ls_augmentation *how = a->augmentation;
    const ls_rng rng = ls_rng_stream(a->seed, LS_RNG_AUGMENT, 0, a->now ? 0 : a->epoch, 0);
    const ls_cuda_input args = {.first = (int)shards->start[first],
                                .last = (int)shards->start[last],
                                .height = a->height,
                                .width = a->width,
                                .unit = a->unit,
                                .augments = how->probability > 0,
                                .images = a->images,
                                .sample = a->sample,
                                .key = {(uint32_t)rng.seed, (uint32_t)(rng.seed >> 32)},
                                .epoch = rng.time,
                                .now = a->now,
                                .purpose_and_op = rng.purpose_and_op,
                                .probability = how->probability,
                                .rotation = how->rotation,
                                .brightness = how->brightness,
                                .contrast = how->contrast,
                                .contrast_probability = how->contrast_probability,
                                .sign = a->sign,
                                .epsilon = a->epsilon,
                                .out = a->out};
    ls_input_forward_cuda(lane->device, &args);
}

static void signs(const void *gradient, int64_t count, int8_t *sign, const ls_lane *lane) {
    ls_input_signs_cuda(lane->device, gradient, count, sign);
}

const ls_input_kernels ls_input_ref_cuda = {
    .scratch_bytes = scratch_bytes, .forward = forward, .signs = signs};
