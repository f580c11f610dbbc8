/* Stochastic gradient descent (Robbins and Monro, 1951; PyTorch's SGD): d = g. */
#include "model/optimizer_rule.h"

LS_DUAL_INLINE real direction(const real *scalars, real w, real g, real *m, real *v) {
    (void)scalars, (void)w, (void)m, (void)v;
    return g;
}

LS_OPTIMIZER_KERNELS(sgd, 0, direction);

#if LS_DEFINES_CLASS
LS_OPTIMIZER_PICK(sgd)

const ls_optimizer_class ls_sgd_optimizer = {.choice = {.name = "sgd"}, .moments = 0, .kernels = kernels};
#endif
