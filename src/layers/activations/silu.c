/* silu, also called swish (Elfwing, Uchibe, Doya, 2018): y = z s with s = 1 / (1 + e^-z).
 * Derivative: s (1 + z (1 - s)). Both, and the product with the gradient, in double, rounded once. */
#include "layers/activations/activation.h"

LS_DUAL_INLINE double logistic(double z) {
    return 1 / (1 + ls_exp(-z));
}

LS_DUAL_INLINE real forward(const ls_activation *act, real z) {
    (void)act;
    return (real)((double)z * logistic((double)z));
}

LS_DUAL_INLINE real backward(const ls_activation *act, real z, real g) {
    const double s = logistic((double)z);
    (void)act;
    return (real)((double)g * (s * (1 + (double)z * (1 - s))));
}

LS_KERNELS(ls_activation_kernels, ls_silu);
LS_ACTIVATION_KERNELS(LS_NAME(ls_silu), real, forward, backward)

#ifdef LS_ONCE
const ls_activation_class ls_silu_activation = {
    .name = "silu", .derivative = LS_DERIVATIVE_INPUT, LS_ALL_TIERS(ls_silu)};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, (ls_activation){.class = &ls_silu_activation});
}

const ls_layer_class ls_silu_layer = {
    .name = "silu", LS_LAYER_NAME_ALONE, .declare = ls_layer_declare_same_shape, .apply = apply};
#endif
