/* Where images enter: bytes of the data set, gathered by sample index, augmented in training, turned into numbers. */
#ifndef LOCKSTEP_LAYERS_INPUT_H
#define LOCKSTEP_LAYERS_INPUT_H

#include "graph/graph.h"
#include "layers/input/augment.h"

typedef struct ls_input_kernels {
    /* out[i] = image[i], or image[i] / 255 */
    void (*convert)(const uint8_t *image, int64_t count, bool unit, void *out, int64_t at);
} ls_input_kernels;

extern const ls_input_kernels ls_input_ref_f32, ls_input_ref_f64;

/* The op: images [height][width][1] of the run's data set; unit: 0..1 instead of 0..255. Augmentation (may be NULL)
 * happens in training only, in stream (seed, LS_RNG_AUGMENT, epoch, sample). */
ls_tensor *ls_input(ls_graph *graph, int height, int width, bool unit, const ls_augmentation *augmentation);

#endif
