#include "layers/initialise.h"

#include <math.h>
#include <stdlib.h>

#include "core/elementary.h"
#include "core/rng.h"

typedef struct fans {
    double in, out;
} fans;

static fans fans_of(const ls_parameter *weight) {
    double taps = 1;
    for (int i = 2; i < weight->dims; i++) taps *= (double)weight->shape[i];
    return (fans){(double)weight->shape[1] * taps, (double)weight->shape[0] * taps};
}

/* A standard normal number from two words (Box and Muller, 1958). */
static double normal(uint32_t a, uint32_t b) {
    static const double two_pi = 6.283185307179586476925;
    return sqrt(-2 * ls_log_e(ls_rng_unit(a))) * ls_cos(two_pi * ls_rng_unit(b));
}

static double draw(ls_initialisation how, fans fan, const uint32_t words[4]) {
    double u = ls_rng_unit(words[0]), symmetric = 2 * u - 1;
    switch (how) {
    case LS_INIT_XAVIER: return symmetric * sqrt(6 / (fan.in + fan.out));
    case LS_INIT_KAIMING: return symmetric * sqrt(6 / fan.in);
    case LS_INIT_XAVIER_PUBLISHED: return -2 * u * sqrt(6 / (fan.in * fan.out));
    case LS_INIT_KAIMING_PUBLISHED: return symmetric * sqrt(1 / fan.in);
    case LS_INIT_NORMAL: return normal(words[0], words[1]) * sqrt(2 / fan.in);
    case LS_INIT_TORCH: return symmetric / sqrt(fan.in);
    }
    return 0;
}

static ls_status fill(ls_parameters *parameters, int index, fans fan, ls_initialisation how, uint64_t seed) {
    const ls_parameter *parameter = &parameters->list[index];
    ls_rng rng = ls_rng_stream(seed, LS_RNG_INIT, (uint32_t)index, 0, 0);
    double *values;
    LS_TRY(ls_calloc(&values, (size_t)parameter->count, sizeof *values, parameter->name));
    for (int64_t i = 0; i < parameter->count; i++) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)i, words);
        values[i] = draw(how, fan, words);
    }
    ls_status status = ls_parameter_set(parameters, parameter, values);
    free(values);
    return status;
}

ls_status ls_initialise_weight(ls_parameters *parameters, int index, ls_initialisation how, uint64_t seed) {
    return fill(parameters, index, fans_of(&parameters->list[index]), how, seed);
}

ls_status ls_initialise_bias(ls_parameters *parameters, int index, int weight, ls_initialisation how,
                             uint64_t seed) {
    if (how != LS_INIT_TORCH) return LS_OK; /* the arenas start zeroed */
    return fill(parameters, index, fans_of(&parameters->list[weight]), how, seed);
}

ls_status ls_initialise_ones(ls_parameters *parameters, int index) {
    const ls_parameter *parameter = &parameters->list[index];
    double *ones;
    LS_TRY(ls_calloc(&ones, (size_t)parameter->count, sizeof *ones, parameter->name));
    for (int64_t i = 0; i < parameter->count; i++) ones[i] = 1;
    ls_status status = ls_parameter_set(parameters, parameter, ones);
    free(ones);
    return status;
}
