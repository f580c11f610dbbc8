/* softplus: y = log(1 + e^z), in double, rounded once. Derivative: 1 / (1 + e^-z). An activation that a program
 * brings along, under a name that the library does not want for its own: its kernels are compiled once for each
 * type, and serve all tiers. */
#include "graph/softplus.h"

#include "layers/activations/activation.h"

static inline double forward(const ls_activation *act, double z) {
    (void)act;
    return (z > 0 ? z : 0) + ls_log_e(1 + ls_exp(z > 0 ? -z : z));
}

static inline double backward(const ls_activation *act, double z, double g) {
    (void)act;
    return g / (1 + ls_exp(-z));
}

static inline float forward_float(const ls_activation *act, float z) {
    return (float)forward(act, (double)z);
}

static inline float backward_float(const ls_activation *act, float z, float g) {
    return (float)backward(act, (double)z, (double)g);
}

LS_ACTIVATION_KERNELS(softplus_f32, float, forward_float, backward_float)
LS_ACTIVATION_KERNELS(softplus_f64, double, forward, backward)

static const ls_activation_class softplus = {.name = "softplus",
                                             .derivative = LS_DERIVATIVE_INPUT,
                                             .kernels_f32 = &softplus_f32,
                                             .kernels_f64 = &softplus_f64};

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer;
    return ls_activate(graph, x, (ls_activation){.class = &softplus});
}

const ls_layer_class softplus_layer = {
    .name = "example_softplus", LS_LAYER_NAME_ALONE, .declare = ls_layer_declare_same_shape, .apply = apply};
