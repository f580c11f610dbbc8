/* The logistic function: y = 1 / (1 + e^-z), computed in double and rounded once. Derivative: y (1 - y). */
#include "layers/activations/activation.h"

LS_DUAL_INLINE real forward(const ls_activation *act, real z) {
    (void)act;
    return (real)(1 / (1 + ls_exp(-(double)z)));
}

LS_DUAL_INLINE real backward(const ls_activation *act, real y, real g) {
    (void)act;
    return g * (y * (1 - y));
}

LS_KERNELS(ls_activation_kernels, ls_sigmoid);
LS_ACTIVATION_KERNELS(LS_NAME(ls_sigmoid), real, forward, backward)

#ifdef LS_ONCE
const ls_activation_class ls_sigmoid_activation = {
    .name = "sigmoid", .derivative = LS_DERIVATIVE_OUTPUT, LS_ALL_TIERS(ls_sigmoid)};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, (ls_activation){.class = &ls_sigmoid_activation});
}

const ls_layer_class ls_sigmoid_layer = {
    .name = "sigmoid", LS_LAYER_NAME_ALONE, .declare = ls_layer_declare_same_shape, .apply = apply};
#endif
