/* An activation: a function of one number that works element by element, y = act(z). A class of them is one
 * file in layers/activations/, which holds the formula, its derivative and the layer. layers/fusion_ref.h
 * calls it; kernels of products that fold it into their loads say so (ls_op_class.folds), and the planner
 * folds it into no others. */
#ifndef LOCKSTEP_GRAPH_ACTIVATION_H
#define LOCKSTEP_GRAPH_ACTIVATION_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ls_activation_class ls_activation_class;

/* One of a class, with what the class has for a parameter (leaky_relu: the slope). class NULL: none. */
typedef struct ls_activation {
    const ls_activation_class *class;
    double parameter;
} ls_activation;

/* What the backward pass has to see. */
typedef enum ls_derivative {
    LS_DERIVATIVE_MASK, /* y: the gradient is 0 where y <= 0, else it stays; so a y that dropout has scaled or
                             set to 0 does as well */
    LS_DERIVATIVE_OUTPUT, /* y itself */
    LS_DERIVATIVE_INPUT   /* z, made again from the tensors that the load reads, which are kept anyway */
} ls_derivative;

/* Of one tier (core/real.h). Arrays of floats or doubles, as the kernel's name says. */
typedef struct ls_activation_kernels {
    void (*forward)(const ls_activation *act, int64_t n, void *z);                    /* z = act(z) */
    void (*backward)(const ls_activation *act, int64_t n, const void *seen, void *g); /* g = act'(z) g */
} ls_activation_kernels;

struct ls_activation_class {
    const char *name;
    ls_derivative derivative;
    bool cheap;     /* to compute again, rather than to keep for the backward pass */
    bool kink_at_0; /* no derivative at 0: the gradient check keeps away from it */
    /* All tiers give the same bits; NULL for AVX2 and AVX-512: those of kernels_f32. */
    const ls_activation_kernels *kernels_f32, *kernels_f64, *kernels_avx2, *kernels_avx512;
};

/* For ls_op_class.folds and the kernels behind it: of loads and stores that go through
 * layers/fusion_ref.h. */
static inline bool ls_folds_any(const ls_activation *act) {
    (void)act;
    return true;
}

#endif
