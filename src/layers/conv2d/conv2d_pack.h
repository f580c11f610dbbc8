/* The weights of the convolution as its vector kernels read them. */
#ifndef LOCKSTEP_LAYERS_CONV2D_PACK_H
#define LOCKSTEP_LAYERS_CONV2D_PACK_H

#include <stdbool.h>

#include "core/real.h"
#include "layers/conv2d/conv2d.h"

/* As [panels][taps][terms][16], or words of two terms, zeros behind the last column and term: columns are
 * outputs and terms inputs, or, transposed, the other way round, and with LS_TILES the taps from the last to
 * the first. */
void LS_NAME(ls_conv2d_pack_weights)(const ls_conv2d_args *a, bool transposed, float *to);

#endif
