/* Where images enter: bytes of the data set, gathered by sample index, augmented in training, turned into
 * numbers. */
#ifndef LOCKSTEP_LAYERS_INPUT_H
#define LOCKSTEP_LAYERS_INPUT_H

#include "graph/op.h"
#include "layers/input/augment.h"

typedef struct ls_input_args {
    const uint8_t *images;  /* of the data set, [height][width] each */
    const uint32_t *sample; /* [rows] */
    int height, width;
    bool unit; /* 0..1 instead of 0..255 */
    const ls_augmentation *augmentation;
    uint64_t seed;
    uint32_t epoch;
    const struct ls_now *now; /* core/now.h: the epoch is the one there; NULL: here */
    const int8_t *sign; /* [rows][height][width] of a perturbation, or NULL .. */
    double epsilon;     /* .. and this much of it, of the 0..1 image */
    void *out;          /* [rows][height][width] */
} ls_input_args;

typedef struct ls_input_kernels {
    /* bytes of lane->scratch that forward() needs for such images */
    size_t (*scratch_bytes)(int height, int width);
    /* the images of the rows of these shards */
    void (*forward)(const ls_input_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane);
    /* On the host, NULL on a device: out[at + i] = image[i], or image[i] / 255 */
    void (*convert)(const uint8_t *image, int64_t count, bool unit, void *out, int64_t at);
    /* out[at + i] += epsilon sign[i], then clipped to 0..1 or 0..255; epsilon is that of the 0..1 image */
    void (*perturb)(const int8_t *sign, double epsilon, int64_t count, bool unit, void *out, int64_t at);
    /* sign[i] of gradient[i]: -1, 0 or 1 */
    void (*signs)(const void *gradient, int64_t count, int8_t *sign, const ls_lane *lane);
} ls_input_kernels;

/* What a sign attack adds to images (Goodfellow, Shlens, Szegedy, 2015, section 4): x' = clip(x + epsilon
 * sign). Read at every run. */
typedef struct ls_perturbation {
    int8_t *sign;   /* [local rows of the batch at hand][height][width], in backend memory */
    double epsilon; /* in units of the 0..1 image, whatever the network is given */
} ls_perturbation;

LS_KERNELS(ls_input_kernels, ls_input_ref);
const ls_input_kernels *ls_input_kernels_for(const ls_backend *backend);

/* The op: images [height][width][1] of the run's data set; unit: 0..1 instead of 0..255. Augmentation (may be
 * NULL) happens in training only, in stream (seed, LS_RNG_AUGMENT, epoch, sample). A graph for attacking
 * computes its gradient. */
ls_tensor *ls_input(ls_graph *graph, int height, int width, bool unit, const ls_augmentation *augmentation);

/* The same images, perturbed, not augmented; the perturbation must outlive the graph. */
ls_tensor *ls_perturbed_input(ls_graph *graph, int height, int width, bool unit,
                              const ls_perturbation *perturbation);

#endif
