/* Activations in kernels of CUDA, from the sources of the CPU's (layers/activations/). The list: a new
 * activation is a line here; one that is not in it is refused on a device. */
#ifndef LOCKSTEP_LAYERS_ACTIVATIONS_CUDA_H
#define LOCKSTEP_LAYERS_ACTIVATIONS_CUDA_H

/* X(file, kernels, class): the file's name, what it gives LS_ACTIVATION_KERNELS, and its class
 * ls_CLASS_activation. */
#define LS_CUDA_ACTIVATIONS(X)                                                                               \
    X(relu, ls_relu, relu)                                                                                   \
    X(leaky_relu, ls_leaky_relu, leaky_relu)                                                                 \
    X(tanh, ls_tanh, tanh)                                                                                   \
    X(sigmoid, ls_sigmoid, sigmoid)                                                                          \
    X(silu, ls_silu, silu)                                                                                   \
    X(gelu, ls_gelu_erf, gelu)                                                                               \
    X(gelu, ls_gelu_tanh, gelu_tanh)

/* Those of them that take a comparison and a product: what kernels of products fold into their loads and
 * stores. */
#define LS_CUDA_CHEAP_ACTIVATIONS(X)                                                                         \
    X(relu, ls_relu, relu)                                                                                   \
    X(leaky_relu, ls_leaky_relu, leaky_relu)

#define LS_CUDA_KIND(file, kernels, name) LS_CUDA_##name,
typedef enum ls_cuda_activation_kind {
    LS_CUDA_NO_ACTIVATION,
    LS_CUDA_ACTIVATIONS(LS_CUDA_KIND)
} ls_cuda_activation_kind;
#undef LS_CUDA_KIND

#ifdef __cplusplus

#include "core/dual_cuda.h"
#include "core/elementary_cuda.h"

namespace ls_activations {

typedef float real;
struct ls_activation {
    double parameter;
};

namespace relu {
#include "layers/activations/relu.c"
}
namespace leaky_relu {
#include "layers/activations/leaky_relu.c"
}
namespace tanh {
#include "layers/activations/tanh.c"
}
namespace sigmoid {
#include "layers/activations/sigmoid.c"
}
namespace silu {
#include "layers/activations/silu.c"
}
namespace gelu {
#include "layers/activations/gelu.c"
}

/* What kernels of one of the lists compute; z or g for a kind that is not in it, as LS_CUDA_NO_ACTIVATION. */
#define LS_CUDA_APPLY_CASE(file, kernels, name)                                                              \
    case LS_CUDA_##name:                                                                                     \
        return file::kernels::apply(act, z);
#define LS_CUDA_GRADIENT_CASE(file, kernels, name)                                                           \
    case LS_CUDA_##name:                                                                                     \
        return file::kernels::gradient(act, seen, g);
#define LS_CUDA_ACTIVATIONS_OF(list)                                                                         \
    static __device__ __forceinline__ float apply(int kind, double parameter, float z) {                     \
        const ls_activation act = {parameter};                                                               \
        switch (kind) { list(LS_CUDA_APPLY_CASE) default : return z; }                                       \
    }                                                                                                        \
    static __device__ __forceinline__ float gradient(int kind, double parameter, float seen, float g) {      \
        const ls_activation act = {parameter};                                                               \
        switch (kind) { list(LS_CUDA_GRADIENT_CASE) default : return g; }                                    \
    }

struct cheap_ones {
    LS_CUDA_ACTIVATIONS_OF(LS_CUDA_CHEAP_ACTIVATIONS)
};
/* For what works element by element. */
struct all_ones {
    LS_CUDA_ACTIVATIONS_OF(LS_CUDA_ACTIVATIONS)
};

} // namespace ls_activations

#undef LS_KERNELS
#undef LS_NAME
#undef LS_ACTIVATION_KERNELS

#endif

#endif
