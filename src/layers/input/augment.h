/* Augmentation of one grey image: rotation, brightness, contrast, as Pillow does them (Image.rotate with
 * BICUBIC, ImageEnhance.Brightness, ImageEnhance.Contrast), each on bytes and clipped and cut off to bytes
 * again: the bytes are Pillow's (tests/layers/augment_pillow.py). */
#ifndef LOCKSTEP_LAYERS_AUGMENT_H
#define LOCKSTEP_LAYERS_AUGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/backend.h"

typedef struct ls_augmentation {
    double probability;          /* that a sample is augmented at all */
    double rotation;             /* degrees; the angle is uniform in [-rotation, rotation] */
    double brightness, contrast; /* factors uniform in [1-b, 1+b] and [1-c, 1+c] */
    double contrast_probability; /* the contrast is changed with this probability, of those augmented */
} ls_augmentation;

/* The operations for one tier of instructions; the bytes are the same in all. Local, they cannot fail. */
typedef struct ls_augment_kernels {
    /* scratch that the others need for images of this size, in bytes */
    size_t (*scratch_bytes)(int height, int width);
    /* Writes the augmented image into `out` [height][width]; every draw comes from stream (seed,
     * LS_RNG_AUGMENT, 0, epoch, sample), so it depends on nothing else. */
    void (*augment)(const ls_augmentation *how, uint64_t seed, uint32_t epoch, uint32_t sample,
                    const uint8_t *in, int height, int width, uint8_t *out, void *scratch);
    /* The three operations by themselves. `in` and `out` must not overlap for the rotation. */
    void (*rotate)(const uint8_t *in, int height, int width, double degrees, uint8_t *out, void *scratch);
    void (*brightness)(uint8_t *image, size_t count, double factor);
    void (*contrast)(uint8_t *image, size_t count, double factor);
} ls_augment_kernels;

LS_KERNELS_CPU(ls_augment_kernels, ls_augment);

#endif
