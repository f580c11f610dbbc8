/* gelu (Hendrycks and Gimpel, 2016): y = z P(z), P the distribution function of the normal distribution, by
 * one of two formulas:
 *   erf    y = z (1 + erf(z / sqrt(2))) / 2, the definition, and PyTorch's default;
 *          derivative P(z) + z e^(-z^2/2) / sqrt(2 pi)
 *   tanh   y = z (1 + tanh(u)) / 2, u = sqrt(2/pi) (z + 0.044715 z^3);
 *          derivative (1 + tanh(u)) / 2 + z (1 - tanh(u)^2) sqrt(2/pi) (1 + 0.134145 z^2) / 2
 * All in double, with the product with the gradient, rounded once. */
#include "layers/activations/activation.h"

static const double root_half = 0.70710678118654752440, root_2_by_pi = 0.79788456080286535588;
static const double one_by_root_2_pi = 0.39894228040143267794;

/* --- erf ----------------------------------------------------------------------------------------------- */

LS_DUAL_INLINE double normal(double z) {
    return 0.5 * (1 + ls_erf(z * root_half));
}

LS_DUAL_INLINE real erf_forward(const ls_activation *act, real z) {
    (void)act;
    return (real)((double)z * normal((double)z));
}

LS_DUAL_INLINE real erf_backward(const ls_activation *act, real z, real g) {
    const double x = (double)z, density = one_by_root_2_pi * ls_exp(-0.5 * x * x);
    (void)act;
    return (real)((double)g * (normal(x) + x * density));
}

LS_KERNELS(ls_activation_kernels, ls_gelu_erf);
LS_ACTIVATION_KERNELS(LS_NAME(ls_gelu_erf), real, erf_forward, erf_backward)

/* --- tanh ---------------------------------------------------------------------------------------------- */

LS_DUAL_INLINE double inner(double z) {
    return root_2_by_pi * (z + 0.044715 * (z * z * z));
}

LS_DUAL_INLINE real tanh_forward(const ls_activation *act, real z) {
    (void)act;
    return (real)(0.5 * (double)z * (1 + ls_tanh(inner((double)z))));
}

LS_DUAL_INLINE real tanh_backward(const ls_activation *act, real z, real g) {
    const double x = (double)z, t = ls_tanh(inner(x)), du = root_2_by_pi * (1 + 0.134145 * (x * x));
    (void)act;
    return (real)((double)g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du));
}

LS_KERNELS(ls_activation_kernels, ls_gelu_tanh);
LS_ACTIVATION_KERNELS(LS_NAME(ls_gelu_tanh), real, tanh_forward, tanh_backward)

/* --- the classes and the layer ------------------------------------------------------------------------- */

#ifdef LS_ONCE
const ls_activation_class ls_gelu_activation = {
    .name = "gelu", .derivative = LS_DERIVATIVE_INPUT, LS_ALL_TIERS(ls_gelu_erf)};
const ls_activation_class ls_gelu_tanh_activation = {
    .name = "gelu by tanh", .derivative = LS_DERIVATIVE_INPUT, LS_ALL_TIERS(ls_gelu_tanh)};

typedef enum gelu_formula { BY_ERF, BY_TANH } gelu_formula;

typedef struct gelu_settings {
    gelu_formula formula;
    char *name;
} gelu_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(gelu_settings, CHOICE, formula, "erf", 0, 0, "erf|tanh",
                 "of the normal distribution: itself, or the approximation by tanh"),
    LS_LAYER_NAME_KEY(gelu_settings),
};

static const ls_activation_class *class_of(gelu_formula formula) {
    switch (formula) {
    case BY_ERF: return &ls_gelu_activation;
    case BY_TANH: return &ls_gelu_tanh_activation;
    }
    return NULL;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const gelu_settings *settings = layer->settings;
    return ls_activate(graph, x, (ls_activation){.class = class_of(settings->formula)});
}

const ls_layer_class ls_gelu_layer = {
    .name = "gelu",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(gelu_settings),
    .declare = ls_layer_declare_same_shape,
    .apply = apply,
};
#endif
