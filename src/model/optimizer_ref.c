#include "model/optimizer.h"

#include <math.h>

#include "core/real.h"

#ifdef LS_F64
#define SQRT sqrt
#else
#define SQRT sqrtf
#endif

static void sgd(const ls_update *u, int64_t count, real *w, const real *g) {
    const real rate = (real)u->rate, decay = (real)u->decay;
    for (int64_t i = 0; i < count; i++) w[i] -= rate * (g[i] + decay * w[i]);
}

static void momentum(const ls_update *u, int64_t count, real *w, const real *g, real *m) {
    const real rate = (real)u->rate, decay = (real)u->decay, keep = (real)u->momentum;
    for (int64_t i = 0; i < count; i++) {
        m[i] = keep * m[i] + (g[i] + decay * w[i]);
        w[i] -= rate * m[i];
    }
}

static void adam(const ls_update *u, int64_t count, real *restrict w, const real *restrict g, real *restrict m,
                 real *restrict v) {
    const real rate = (real)u->rate, decay = (real)u->decay, eps = (real)u->epsilon;
    const real beta1 = (real)u->beta1, beta2 = (real)u->beta2;
    const real one_minus1 = (real)(1 - u->beta1), one_minus2 = (real)(1 - u->beta2);
    const real correction1 = (real)u->correction1, correction2 = (real)u->correction2;
    const real inside = u->epsilon_inside ? eps : 0, outside = u->epsilon_inside ? 0 : eps;
    for (int64_t i = 0; i < count; i++) {
        real gradient = g[i] + decay * w[i];
        m[i] = beta1 * m[i] + one_minus1 * gradient;
        v[i] = beta2 * v[i] + one_minus2 * (gradient * gradient);
        real denominator = SQRT(v[i] * correction2 + inside) + outside;
        w[i] -= rate * ((m[i] * correction1) / denominator);
    }
}

static void apply(const ls_update *update, int64_t count, void *w, const void *g, void *m, void *v) {
    switch ((ls_optimizer_kind)update->kind) {
    case LS_SGD: sgd(update, count, w, g); break;
    case LS_MOMENTUM: momentum(update, count, w, g, m); break;
    case LS_ADAM: adam(update, count, w, g, m, v); break;
    }
}

const ls_update_kernels LS_NAME(ls_update_ref) = {apply};
