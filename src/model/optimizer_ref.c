/* The update in plain C. While it holds an element it adds up its bits, as integers, before and after: beside
 * a root and a division that costs nothing. */
#include <math.h>
#include <string.h>

#include "core/real.h"
#include "model/optimizer.h"

#ifdef LS_F64
#define SQRT sqrt
typedef uint64_t real_bits;
#else
#define SQRT sqrtf
typedef uint32_t real_bits;
#endif

typedef struct bit_sums {
    real_bits before, after;
} bit_sums;

static inline real_bits bits_of(real x) {
    real_bits bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bit_sums sgd(const ls_update *u, int64_t count, real *restrict w, const real *restrict g) {
    const real rate = (real)u->rate, decay = (real)u->decay;
    bit_sums sums = {0};
    for (int64_t i = 0; i < count; i++) {
        sums.before += bits_of(w[i]);
        w[i] -= rate * (g[i] + decay * w[i]);
        sums.after += bits_of(w[i]);
    }
    return sums;
}

static bit_sums momentum(const ls_update *u, int64_t count, real *restrict w, const real *restrict g,
                         real *restrict m) {
    const real rate = (real)u->rate, decay = (real)u->decay, keep = (real)u->momentum;
    bit_sums sums = {0};
    for (int64_t i = 0; i < count; i++) {
        sums.before += bits_of(w[i]) + bits_of(m[i]);
        m[i] = keep * m[i] + (g[i] + decay * w[i]);
        w[i] -= rate * m[i];
        sums.after += bits_of(w[i]) + bits_of(m[i]);
    }
    return sums;
}

static bit_sums adam(const ls_update *u, int64_t count, real *restrict w, const real *restrict g,
                     real *restrict m, real *restrict v) {
    const real rate = (real)u->rate, decay = (real)u->decay, eps = (real)u->epsilon;
    const real beta1 = (real)u->beta1, beta2 = (real)u->beta2;
    const real one_minus1 = (real)(1 - u->beta1), one_minus2 = (real)(1 - u->beta2);
    const real correction1 = (real)u->correction1, correction2 = (real)u->correction2;
    const real inside = u->epsilon_inside ? eps : 0, outside = u->epsilon_inside ? 0 : eps;
    bit_sums sums = {0};
    for (int64_t i = 0; i < count; i++) {
        sums.before += bits_of(w[i]) + bits_of(m[i]) + bits_of(v[i]);
        real gradient = g[i] + decay * w[i];
        m[i] = beta1 * m[i] + one_minus1 * gradient;
        v[i] = beta2 * v[i] + one_minus2 * (gradient * gradient);
        real denominator = SQRT(v[i] * correction2 + inside) + outside;
        w[i] -= rate * ((m[i] * correction1) / denominator);
        sums.after += bits_of(w[i]) + bits_of(m[i]) + bits_of(v[i]);
    }
    return sums;
}

static ls_bit_sums apply(const ls_update *update, int64_t count, void *w, const void *g, void *m, void *v) {
    bit_sums sums = {0};
    switch ((ls_optimizer_kind)update->kind) {
    case LS_SGD: sums = sgd(update, count, w, g); break;
    case LS_MOMENTUM: sums = momentum(update, count, w, g, m); break;
    case LS_ADAM: sums = adam(update, count, w, g, m, v); break;
    }
    return (ls_bit_sums){sums.before, sums.after};
}

static uint64_t sum(int64_t count, const void *elements) {
    const real *x = elements;
    real_bits sum = 0;
    for (int64_t i = 0; i < count; i++) sum += bits_of(x[i]);
    return sum;
}

const ls_update_kernels LS_NAME(ls_update_ref) = {apply, sum};
