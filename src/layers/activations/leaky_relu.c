/* leaky_relu (Maas, Hannun, Ng, 2013): y = z where z > 0, else slope z; NaN stays NaN. Derivative: 1 where
 * z > 0, else slope. The slope is not negative, so y <= 0 where z <= 0. */
#include "layers/activations/activation.h"

LS_DUAL_INLINE real forward(const ls_activation *act, real z) {
    return z <= 0 ? (real)act->parameter * z : z;
}

LS_DUAL_INLINE real backward(const ls_activation *act, real y, real g) {
    return y <= 0 ? (real)act->parameter * g : g;
}

LS_KERNELS(ls_activation_kernels, ls_leaky_relu);
LS_ACTIVATION_KERNELS(LS_NAME(ls_leaky_relu), real, forward, backward)

#ifdef LS_ONCE
const ls_activation_class ls_leaky_relu_activation = {.name = "leaky_relu",
                                                      .derivative = LS_DERIVATIVE_OUTPUT,
                                                      .cheap = true,
                                                      .kink_at_0 = true,
                                                      LS_ALL_TIERS(ls_leaky_relu)};

typedef struct leaky_relu_settings {
    double slope;
    char *name;
} leaky_relu_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(leaky_relu_settings, REAL, slope, "0.01", 0, 1, NULL, "factor of what is below 0"),
    LS_LAYER_NAME_KEY(leaky_relu_settings),
};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const leaky_relu_settings *settings = layer->settings;
    return ls_activate(graph, x, (ls_activation){&ls_leaky_relu_activation, settings->slope});
}

const ls_layer_class ls_leaky_relu_layer = {
    .name = "leaky_relu",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(leaky_relu_settings),
    .declare = ls_layer_declare_same_shape,
    .apply = apply,
};
#endif
