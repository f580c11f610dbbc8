/* relu: y = max(z, 0), and NaN stays NaN. Derivative: 1 where z > 0, else 0. */
#include "layers/activations/activation.h"

LS_DUAL_INLINE real forward(const ls_activation *act, real z) {
    (void)act;
    return z <= 0 ? 0 : z;
}

LS_DUAL_INLINE real backward(const ls_activation *act, real y, real g) {
    (void)act;
    return y <= 0 ? 0 : g;
}

LS_KERNELS(ls_activation_kernels, ls_relu);
LS_ACTIVATION_KERNELS(LS_NAME(ls_relu), real, forward, backward)

#ifdef LS_ONCE
const ls_activation_class ls_relu_activation = {.name = "relu",
                                                .derivative = LS_DERIVATIVE_MASK,
                                                .cheap = true,
                                                .kink_at_0 = true,
                                                LS_ALL_TIERS(ls_relu)};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, (ls_activation){.class = &ls_relu_activation});
}

const ls_layer_class ls_relu_layer = {
    .name = "relu", LS_LAYER_NAME_ALONE, .declare = ls_layer_declare_same_shape, .apply = apply};
#endif
