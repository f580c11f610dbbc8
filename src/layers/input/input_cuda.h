/* Launchers of the table layers/input/input.h for GPUs. */
#ifndef LOCKSTEP_LAYERS_INPUT_CUDA_H
#define LOCKSTEP_LAYERS_INPUT_CUDA_H

#include <stdbool.h>
#include <stdint.h>

/* ls_input_args, for rows [first, last) */
typedef struct ls_cuda_input {
    int first, last, height, width;
    bool unit, augments;
    const uint8_t *images;
    const uint32_t *sample;
    uint32_t key[2], epoch, purpose_and_op;
    const struct ls_now *now; /* the epoch is the one there; NULL: here */
    double probability, rotation, brightness, contrast, contrast_probability; /* ls_augmentation */
    const int8_t *sign;
    double epsilon;
    float *out;
} ls_cuda_input;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_input_forward_cuda(struct ls_device *device, const ls_cuda_input *args);
void ls_input_signs_cuda(struct ls_device *device, const float *gradient, int64_t count, int8_t *sign);
#ifdef __cplusplus
}
#endif

#endif
