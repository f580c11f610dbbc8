/* tanh. Derivative: 1 - y^2. */
#include "layers/activations/activation.h"

LS_DUAL_INLINE real forward(const ls_activation *act, real z) {
    (void)act;
#ifdef LS_F64
    return ls_tanh(z);
#else
    return ls_tanhf(z);
#endif
}

LS_DUAL_INLINE real backward(const ls_activation *act, real y, real g) {
    (void)act;
    return g * (1 - y * y);
}

LS_KERNELS(ls_activation_kernels, ls_tanh);
LS_ACTIVATION_KERNELS(LS_NAME(ls_tanh), real, forward, backward)

#ifdef LS_ONCE
const ls_activation_class ls_tanh_activation = {
    .name = "tanh", .derivative = LS_DERIVATIVE_OUTPUT, LS_ALL_TIERS(ls_tanh)};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, (ls_activation){.class = &ls_tanh_activation});
}

const ls_layer_class ls_tanh_layer = {
    .name = "tanh", LS_LAYER_NAME_ALONE, .declare = ls_layer_declare_same_shape, .apply = apply};
#endif
