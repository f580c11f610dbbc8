/* Initial weights of dense and convolution layers, drawn in PyTorch's element order from stream (seed,
 * LS_RNG_INIT, parameter index), so that they depend neither on the rank nor on the layout in memory. */
#ifndef LOCKSTEP_LAYERS_INITIALISE_H
#define LOCKSTEP_LAYERS_INITIALISE_H

#include "graph/parameters.h"

/* r below: the half-width of a uniform distribution. */
typedef enum ls_initialisation {
    LS_INIT_XAVIER,            /* U(-r, r), r = sqrt(6 / (fan_in + fan_out)); Glorot and Bengio, 2010 */
    LS_INIT_KAIMING,           /* U(-r, r), r = sqrt(6 / fan_in); He et al., 2015 */
    LS_INIT_XAVIER_PUBLISHED,  /* U(-2r, 0), r = sqrt(6 / (fan_in fan_out)): report 1's published dense layer
                                */
    LS_INIT_KAIMING_PUBLISHED, /* U(-1, 1) sqrt(1 / fan_in): report 1's published convolution */
    LS_INIT_NORMAL,            /* N(0, 1) sqrt(2 / fan_in): report 2 */
    LS_INIT_TORCH              /* U(-r, r), r = 1 / sqrt(fan_in), biases too: PyTorch's default */
} ls_initialisation;

/* The choices in that order, for a layer's key. */
#define LS_INITIALISATION_CHOICES "xavier|kaiming|xavier_published|kaiming_published|normal|torch"

/* Fills a weight [outputs][inputs][taps..]; fan_in = inputs x taps, fan_out = outputs x taps. */
ls_status ls_initialise_weight(ls_parameters *parameters, int index, ls_initialisation how, uint64_t seed);

/* Fills the bias that goes with the weight of index `weight`: zeros, but for LS_INIT_TORCH. */
ls_status ls_initialise_bias(ls_parameters *parameters, int index, int weight, ls_initialisation how,
                             uint64_t seed);

/* Fills a vector with ones: the scale of a normalisation. */
ls_status ls_initialise_ones(ls_parameters *parameters, int index);

#endif
