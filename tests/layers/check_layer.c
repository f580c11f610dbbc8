#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "layers/fixture.h"

#ifdef LS_F64
static const double epsilon = DBL_EPSILON;
#else
static const double epsilon = (double)FLT_EPSILON;
#endif

/* What the kernels must write. */
typedef struct expected {
    real *x, *y, *dy;    /* x', y, dy of all rows */
    double *sums;        /* of y */
    ls_grad_epilogue dx; /* as written */
    real *dweight, *dbias;
} expected;

static void *copy(const void *from, size_t bytes) {
    return from ? memcpy(fixture_memory(bytes), from, bytes) : NULL;
}

static int64_t x_size(const fixture *f) {
    return f->x_pixels * f->x_channels;
}

static int64_t y_size(const fixture *f) {
    return f->y_pixels * f->y_channels;
}

/* What stands for x in a product. */
static real factor(real x) {
#ifdef LS_BF16 /* to 8 bits: an addition in double of what has its last bit there; ties to even */
    uint64_t bits;
    double power = (double)x; /* of 2, that of x */
    memcpy(&bits, &power, sizeof bits);
    bits &= 0x7ff0000000000000;
    memcpy(&power, &bits, sizeof power);
    const double large = power * 0x1.8p45;
    return isfinite(x) ? (real)((double)x + large - large) : x;
#else
    return x;
#endif
}

/* --- the same in double, and how large the terms were --- */

static void expect_close(const char *what, const real *got, const double *exact, const double *bound,
                         int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - exact[i]) <= bound[i]))
            fail_msg("%s[%lld]: %.17g, in double %.17g, which may differ by %.3g", what, (long long)i,
                     (double)got[i], exact[i], bound[i]);
}

/* bound: sums of |terms|, becomes |got - sum of terms| <= terms * epsilon * that, as for any order */
static void bound_of_sums(const fixture *f, double *bound, int64_t n) {
    for (int64_t i = 0; i < n; i++) bound[i] *= (double)f->terms * epsilon;
}

/* --- slow and obvious --- */

static bool by_image; /* is a weight gradient summed over each row, then over the rows? */
static const layer_products *products;

static real multiply_add(real a, real b, real sum) {
    a = factor(a), b = factor(b);
#ifdef LS_F64
    return sum + a * b;
#else
    return fmaf(a, b, sum);
#endif
}

/* y of a row, checked in double. */
static void forward_row(const fixture *f, const real *x, real *y) {
    const int64_t n = y_size(f);
    double *exact = calloc((size_t)(2 * n), sizeof *exact), *bound = exact + n;
    assert_non_null(exact);
    for (int64_t i = 0; i < n; i++) y[i] = 0;
    for (int64_t i = 0; i < f->terms; i++) {
        const term t = f->term[i];
        const double product = (double)factor(x[t.x]) * (double)factor(f->weight[t.w]);
        exact[t.y] += product, bound[t.y] += fabs(product);
        y[t.y] = multiply_add(x[t.x], f->weight[t.w], y[t.y]);
    }
    bound_of_sums(f, bound, n);
    if (products) products->forward(f, x, y, bound);
    expect_close("y", y, exact, bound, n);
    free(exact);
}

/* The same for dx'. */
static void backward_row(const fixture *f, const real *dy, real *dx) {
    const int64_t n = x_size(f);
    double *exact = calloc((size_t)(2 * n), sizeof *exact), *bound = exact + n;
    assert_non_null(exact);
    for (int64_t i = 0; i < n; i++) dx[i] = 0;
    for (int64_t i = 0; i < f->terms; i++) {
        const term t = f->term[i];
        const double product = (double)factor(dy[t.y]) * (double)factor(f->weight[t.w]);
        exact[t.x] += product, bound[t.x] += fabs(product);
        dx[t.x] = multiply_add(dy[t.y], f->weight[t.w], dx[t.x]);
    }
    bound_of_sums(f, bound, n);
    if (products) products->backward(f, dy, dx, bound);
    expect_close("dx'", dx, exact, bound, n);
    free(exact);
}

static void expect_forward(const fixture *f, expected *e) {
    const int64_t k = f->y_channels;
    e->x = fixture_reals(f->rows * x_size(f), 1);
    e->y = fixture_reals(f->rows * y_size(f), 1);
    e->sums = fixture_memory((size_t)(f->shards.count * 2 * k) * sizeof(double));
    for (int64_t row = 0; row < f->rows; row++)
        for (int64_t i = 0; i < x_size(f); i++) e->x[row * x_size(f) + i] = naive_prologue(&f->in, row, i);
    for (int64_t row = 0; row < f->rows; row++)
        forward_row(f, e->x + row * x_size(f), e->y + row * y_size(f));
}

static void expect_epilogue(const fixture *f, expected *e) {
    const int64_t k = f->y_channels;
    for (int64_t i = 0; f->out.bias && i < f->rows * y_size(f); i++)
        e->y[i] = e->y[i] + ((const real *)f->out.bias)[i % k];
    naive_sums(&f->shards, f->y_pixels, f->y_width, k, e->y, e->y, e->sums);
}

static void expect_backward(const fixture *f, expected *e) {
    const size_t bytes = (size_t)(f->rows * x_size(f)) * sizeof(real);
    const size_t sum_bytes = (size_t)(f->shards.count * 2 * f->x_channels) * sizeof(double);
    e->dy = fixture_reals(f->rows * y_size(f), 1);
    real *dx = fixture_memory(bytes);
    for (int64_t row = 0; row < f->rows; row++) {
        for (int64_t i = 0; i < y_size(f); i++)
            e->dy[row * y_size(f) + i] = naive_grad_prologue(&f->dy, row, i);
        backward_row(f, e->dy + row * y_size(f), dx + row * x_size(f));
    }
    e->dx = f->dx;
    e->dx.dz = copy(f->dx.dz, bytes);
    e->dx.sums = copy(f->dx.sums, sum_bytes);
    e->dx.dresidual = copy(f->dx.dresidual, bytes);
    e->dx.residual_sums = copy(f->dx.residual_sums, sum_bytes);
    if (e->dx.dz || e->dx.dresidual) naive_grad_epilogue(f, &e->dx, dx);
}

/* dw and, behind it, db of `count` shards from local shard s: the tree, by recursion */
static void naive_gradient(const fixture *f, const expected *e, int s, int count, real *sum) {
    const int64_t n = f->weights + f->y_channels;
    if (count > 1) {
        real *right = malloc((size_t)n * sizeof(real));
        assert_non_null(right);
        naive_gradient(f, e, s, count / 2, sum);
        naive_gradient(f, e, s + count / 2, count / 2, right);
        for (int64_t i = 0; i < n; i++) sum[i] = sum[i] + right[i];
        free(right);
        return;
    }
    const int64_t first = f->shards.start[s], last = f->shards.start[s + 1];
    double *exact = calloc((size_t)(2 * f->weights), sizeof *exact), *bound = exact + f->weights;
    assert_non_null(exact);
    real *image = calloc((size_t)n, sizeof *image), *to = by_image ? image : sum;
    assert_non_null(image);
    for (int64_t i = 0; i < n; i++) sum[i] = 0;
    for (int64_t row = first; row < last; row++) {
        const real *x = e->x + row * x_size(f), *dy = e->dy + row * y_size(f);
        for (int64_t i = 0; i < f->terms; i++) {
            const term t = f->term[i];
            const double product = (double)factor(x[t.x]) * (double)factor(dy[t.y]);
            exact[t.w] += product, bound[t.w] += fabs(product);
            to[t.w] = multiply_add(x[t.x], dy[t.y], to[t.w]);
        }
        for (int64_t i = 0; i < y_size(f); i++) image[f->weights + i % f->y_channels] += dy[i];
        for (int64_t i = 0; i < n; i++) sum[i] += image[i];
        memset(image, 0, (size_t)n * sizeof *image);
    }
    free(image);
    bound_of_sums(f, bound, f->weights);
    for (int64_t i = 0; i < f->weights; i++) bound[i] *= (double)(last - first);
    if (products)
        products->gradient(f, last - first, e->x + first * x_size(f), e->dy + first * y_size(f), sum, bound);
    expect_close("dw of a shard", sum, exact, bound, f->weights);
    free(exact);
}

static void expect_weight_grad(const fixture *f, expected *e) {
    e->dweight = copy(f->dweight, (size_t)(f->node_stride * f->shards.node_count) * sizeof(real));
    real *sum = fixture_memory((size_t)(f->weights + f->y_channels) * sizeof(real));
    for (int n = 0; n < f->shards.node_count; n++) {
        const ls_node node = f->shards.node[n];
        naive_gradient(f, e, node.first - f->shards.first, node.count, sum);
        real *to = e->dweight + n * f->node_stride;
        memcpy(to, sum, (size_t)f->weights * sizeof(real));
        if (f->dbias)
            memcpy(to + (f->dbias - f->dweight), sum + f->weights, (size_t)f->y_channels * sizeof(real));
    }
}

/* --- the kernels, split into calls in several ways --- */

enum split { AT_ONCE, ONE_BY_ONE, BACKWARDS_BY_THREE, SPLITS };

static void split_calls(const fixture *f, enum split split, int64_t count, const ls_lane *lane,
                        void (*call)(const fixture *f, int64_t first, int64_t last, const ls_lane *lane,
                                     const void *ops),
                        const void *ops) {
    if (split == AT_ONCE) {
        call(f, 0, count, lane, ops);
    } else if (split == ONE_BY_ONE) {
        for (int64_t i = 0; i < count; i++) call(f, i, i + 1, lane, ops);
    } else {
        for (int64_t last = count; last > 0; last -= 3) call(f, last > 3 ? last - 3 : 0, last, lane, ops);
    }
}

static void call_forward(const fixture *f, int64_t first, int64_t last, const ls_lane *lane,
                         const void *ops) {
    ((const layer_ops *)ops)->forward(f, (int)first, (int)last, lane);
}

static void call_backward(const fixture *f, int64_t first, int64_t last, const ls_lane *lane,
                          const void *ops) {
    ((const layer_ops *)ops)->backward(f, (int)first, (int)last, lane);
}

static void call_weight_grad(const fixture *f, int64_t first, int64_t last, const ls_lane *lane,
                             const void *ops) {
    ((const layer_ops *)ops)->weight_grad(f, first, last, lane);
}

/* Is there all that the weight gradient is made of? */
static bool has_weight_grad(const fixture *f, const layer_ops *ops) {
    return ops->shard_gradient_elements || f->in.stored || ls_prologue_is_identity(&f->in);
}

static void run(fixture *f, enum split split, const layer_ops *ops) {
    const size_t bytes = ops->scratch_bytes(f);
    const ls_lane lane = {.scratch = aligned_alloc(64, (bytes + 63) / 64 * 64), .device = ops->device};
    assert_non_null(lane.scratch);
    if (ops->shard_gradient_elements)
        f->shard_gradients = fixture_reals(f->shards.count * ops->shard_gradient_elements(f), 120);
    memset(lane.scratch, 0xFF, bytes);
    split_calls(f, split, f->shards.count, &lane, call_forward, ops);
    memset(lane.scratch, 0xFF, bytes);
    split_calls(f, split, f->shards.count, &lane, call_backward, ops);
    memset(lane.scratch, 0xFF, bytes);
    if (has_weight_grad(f, ops)) split_calls(f, split, ops->parts(f), &lane, call_weight_grad, ops);
    free(lane.scratch);
}

static void compare(const fixture *f, const expected *e, const layer_ops *ops) {
    const int64_t x = f->rows * x_size(f), y = f->rows * y_size(f);
    const int64_t x_sums = f->shards.count * 2 * f->x_channels, y_sums = f->shards.count * 2 * f->y_channels;
    expect_same_reals("y", f->y, e->y, y);
    if (f->in.stored) expect_same_reals("x'", f->in.stored, e->x, x);
    if (f->out.sums) expect_same_doubles("sums of y", f->out.sums, e->sums, y_sums);
    if (f->dy.stored && !ops->shard_gradient_elements) expect_same_reals("dy", f->dy.stored, e->dy, y);
    if (f->dx.dz) expect_same_reals("dz", f->dx.dz, e->dx.dz, x);
    if (f->dx.dresidual) expect_same_reals("dresidual", f->dx.dresidual, e->dx.dresidual, x);
    if (f->dx.sums) expect_same_doubles("sums of dz", f->dx.sums, e->dx.sums, x_sums);
    if (f->dx.residual_sums)
        expect_same_doubles("sums of dresidual", f->dx.residual_sums, e->dx.residual_sums, x_sums);
    if (has_weight_grad(f, ops))
        expect_same_reals("dweight", f->dweight, e->dweight, f->node_stride * f->shards.node_count);
}

void check_layer(fixture *f, unsigned features, const layer_ops *ops) {
    expected e = {0};
    by_image = ops->by_image;
    products = ops->products;
    for (enum split split = AT_ONCE; split < SPLITS; split++) {
        fixture_fill(f, features); /* all operands anew: some are written over */
        if (split == AT_ONCE) {
            expect_forward(f, &e);
            expect_backward(f, &e);
            expect_epilogue(f, &e);
            expect_weight_grad(f, &e);
        }
        run(f, split, ops);
        compare(f, &e, ops);
    }
    fixture_free();
}
