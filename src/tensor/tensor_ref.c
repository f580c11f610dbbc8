/* Reference kernels of the tensor operations: plain loops, every sum in double and in row-major order. */
#include <math.h>

#include "core/elementary.h"
#include "core/real.h"
#include "tensor/kernels.h"

#ifdef LS_F64
#define real_exp  ls_exp
#define real_log  ls_log_e
#define real_sqrt sqrt
#else
#define real_exp  ls_expf
#define real_log  ls_logf
#define real_sqrt sqrtf
#endif

/* Elements of out that are summed side by side, so that matrix products read their second operand along its
 * rows. */
enum { BLOCK = 16 };

/* sum[j] += a b for `count` neighbours j along the loop `across`, over all terms of the remaining loops. */
static void add_terms(const ls_nest_loop *loop, int loops, const ls_nest_loop *across, int64_t count,
                      const real *a, const real *b, double *sum) {
    if (loops > 0) {
        for (int64_t i = 0; i < loop->size; i++)
            add_terms(loop + 1, loops - 1, across, count, a + i * loop->a, b ? b + i * loop->b : NULL, sum);
    } else if (b) {
        for (int64_t j = 0; j < count; j++) sum[j] += (double)a[j * across->a] * (double)b[j * across->b];
    } else {
        for (int64_t j = 0; j < count; j++) sum[j] += (double)a[j * across->a];
    }
}

typedef struct nest_arguments {
    const ls_nest *nest;
    double divisor;
    bool accumulate;
} nest_arguments;

static void sum_across(const nest_arguments *n, const ls_nest_loop *across, const real *a, const real *b,
                       real *out) {
    for (int64_t at = 0; at < across->size; at += BLOCK) {
        int64_t count = across->size - at < BLOCK ? across->size - at : BLOCK;
        double sum[BLOCK];
        for (int64_t j = 0; j < count; j++)
            sum[j] = -0.0; /* which, unlike 0, changes no number it is added to */
        add_terms(n->nest->summed, n->nest->inner, across, count, a + at * across->a,
                  b ? b + at * across->b : NULL, sum);
        for (int64_t j = 0; j < count; j++) {
            real value = (real)(sum[j] / n->divisor), *to = &out[(at + j) * across->out];
            *to = n->accumulate ? *to + value : value;
        }
    }
}

static void walk(const nest_arguments *n, int depth, const real *a, const real *b, real *out) {
    const ls_nest_loop once = {.size = 1}, *loop = depth < n->nest->outer ? &n->nest->over[depth] : &once;
    if (depth + 1 >= n->nest->outer) {
        sum_across(n, loop, a, b, out);
        return;
    }
    for (int64_t i = 0; i < loop->size; i++)
        walk(n, depth + 1, a + i * loop->a, b ? b + i * loop->b : NULL, out + i * loop->out);
}

static void nest(const ls_nest *loops, const void *a, const void *b, double divisor, bool accumulate,
                 void *out) {
    nest_arguments n = {loops, divisor, accumulate};
    walk(&n, 0, a, b, out);
}

static void unary(ls_unary kind, int64_t n, const void *from, void *to) {
    const real *x = from;
    real *y = to;
    for (int64_t i = 0; i < n; i++) {
        switch (kind) {
        case LS_EXP: y[i] = real_exp(x[i]); break;
        case LS_LOG: y[i] = real_log(x[i]); break;
        case LS_SQUARE: y[i] = x[i] * x[i]; break;
        case LS_SQRT: y[i] = real_sqrt(x[i]); break;
        case LS_INVERSE: y[i] = 1 / x[i]; break;
        case LS_NEGATE: y[i] = -x[i]; break;
        }
    }
}

static real derivative(ls_unary kind, real x, real y) {
    switch (kind) {
    case LS_EXP: return y;
    case LS_LOG: return 1 / x;
    case LS_SQUARE: return 2 * x;
    case LS_SQRT: return 1 / (2 * y);
    case LS_INVERSE: return -(y * y);
    case LS_NEGATE: return -1;
    }
    return 0;
}

static void unary_backward(ls_unary kind, int64_t n, const void *in, const void *out, const void *gradient,
                           void *to) {
    const real *x = in, *y = out, *dy = gradient;
    real *dx = to;
    for (int64_t i = 0; i < n; i++) dx[i] += dy[i] * derivative(kind, x[i], y[i]);
}

static void take(int64_t rows, int64_t size, int64_t row, int64_t count, const int64_t *index,
                 const void *from, void *to) {
    const real *x = from;
    real *y = to;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < count; j++)
            for (int64_t k = 0; k < row; k++)
                y[(i * count + j) * row + k] = x[(i * size + index[j]) * row + k];
}

static void take_backward(int64_t rows, int64_t size, int64_t row, int64_t count, const int64_t *index,
                          const void *gradient, void *to) {
    const real *dy = gradient;
    real *dx = to;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < count; j++)
            for (int64_t k = 0; k < row; k++)
                dx[(i * size + index[j]) * row + k] += dy[(i * count + j) * row + k];
}

static void convert(int64_t n, const double *from, void *to) {
    real *out = to;
    for (int64_t i = 0; i < n; i++) out[i] = (real)from[i];
}

const ls_tensor_kernels LS_NAME(ls_tensor_ref) = {nest, unary, unary_backward, take, take_backward, convert};
