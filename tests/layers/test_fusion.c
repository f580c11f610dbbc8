/* The prologues and epilogues in plain C against element-by-element versions to the bit, against the C
 * library in double, and (in fp64) against differences. Built for fp32 and
 * fp64 and for every tier. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/instruction_set.h"
#include "layers/fixture.h"
#include "layers/fusion_ref.h"

/* pixels x channels x pixels of a line: rows shorter and longer than a chunk, chunks that end inside a pixel, blocks of 4 words
 * that a row does not fill */
static const int64_t shapes[][3] = {{1, 1, 1},   {1, 3, 1},   {1, 7, 1},    {3, 1, 3},  {1, 513, 1},
                                    {1, 784, 1}, {49, 17, 7}, {36, 33, 12}, {4, 300, 1}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static fixture make(const int64_t shape[3], unsigned features) {
    fixture f = {.x_pixels = shape[0],
                 .x_width = shape[2],
                 .x_channels = shape[1],
                 .y_pixels = shape[0],
                 .y_width = shape[2],
                 .y_channels = shape[1],
                 .weights = 1};
    assert_int_equal(ls_shards_create(&f.shards, 4, 0, 1, 6), LS_OK);
    fixture_fill(&f, features);
    return f;
}

static int64_t row_size(const fixture *f) {
    return f->x_pixels * f->x_channels;
}

/* --- prologue --- */

/* The definition, in double, with the C library's tanh; dropout as the random word says. */
static double definition(const ls_prologue *p, int64_t i, bool kept) {
    const int64_t c = i % p->channels;
    double z = (double)((const real *)p->x)[i];
    if (p->norm.mean)
        z = (z - (double)((const real *)p->norm.mean)[c]) * (double)((const real *)p->norm.scale)[c] +
            (double)((const real *)p->norm.shift)[c];
    if (p->residual) {
        double r = (double)((const real *)p->residual)[i];
        const ls_normalisation *n = &p->residual_norm;
        if (n->mean)
            r = (r - (double)((const real *)n->mean)[c]) * (double)((const real *)n->scale)[c] +
                (double)((const real *)n->shift)[c];
        z += r;
    }
    const ls_activation_class *act = p->act.class;
    if (act == &ls_relu_activation) z = fmax(z, 0);
    if (act == &ls_leaky_relu_activation) z = z > 0 ? z : 0.3 * z;
    if (act == &ls_tanh_activation) z = tanh(z);
    if (act == &ls_sigmoid_activation) z = 1 / (1 + exp(-z));
    if (act == &ls_silu_activation) z = z / (1 + exp(-z));
    if (act == &ls_gelu_activation) z = z * erfc(-z * sqrt(0.5)) / 2;
    return kept ? z * (p->dropout.active ? p->dropout.scale : 1) : 0;
}

static void check_prologue(const fixture *f, const real *out, const real *want) {
    const int64_t n = f->rows * row_size(f);
    int64_t zeros = 0;
    expect_same_reals("x'", out, want, n);
    if (f->in.stored) expect_same_reals("stored", f->in.stored, want, n);
    const double tolerance = 16 * (sizeof(real) == 4 ? (double)FLT_EPSILON : DBL_EPSILON);
    for (int64_t i = 0; i < n; i++) {
        const bool dropped = f->in.dropout.active && out[i] == 0;
        zeros += dropped;
        assert_true(fabs((double)out[i] - definition(&f->in, i, !dropped)) <= tolerance);
    }
    if (f->in.dropout.active && f->in.act.class != &ls_relu_activation &&
        n > 1000) /* 30 %, 5 standard deviations */
        assert_true(fabs((double)zeros / (double)n - 0.3) < 5 * sqrt(0.21 / (double)n));
}

static void prologue_of_shape(void *context, unsigned features) {
    fixture f = make(context, features);
    const int64_t size = row_size(&f), n = f.rows * size;
    real *want = fixture_reals(n, 1), *out = fixture_reals(n, 2);
    for (int64_t i = 0; i < n; i++) want[i] = naive_prologue(&f.in, i / size, i % size);
    LS_NAME(ls_prologue_rows)(&f.in, 0, f.rows, out);
    check_prologue(&f, out, want);
    for (int64_t row = f.rows - 1; row >= 0; row--) /* row by row, to its place */
        LS_NAME(ls_prologue_rows)
    (&f.in, row, 1, f.in.stored ? (real *)f.in.stored + row * size : out + row * size);
    check_prologue(&f, out, want);
    fixture_free();
}

static void prologues(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) each_prologue_and_activation(prologue_of_shape, (void *)shapes[s]);
}

/* --- epilogue --- */

static void epilogue_of_shape(const int64_t shape[3], unsigned features) {
    fixture f = make(shape, features);
    const int64_t k = f.y_channels, size = f.y_pixels * k, n = f.rows * size;
    real *want = memcpy(fixture_memory((size_t)n * sizeof(real)), f.y, (size_t)n * sizeof(real));
    double *sums = fixture_memory((size_t)(f.shards.count * 2 * k) * sizeof *sums);
    for (int64_t i = 0; f.out.bias && i < n; i++) want[i] = want[i] + ((const real *)f.out.bias)[i % k];
    naive_sums(&f.shards, f.y_pixels, f.y_width, k, want, want, sums);
    f.out.room = fixture_memory((size_t)ls_sums_room(k) * sizeof(double));
    if (f.out.sums) memset(f.out.sums, 0, (size_t)(f.shards.count * 2 * k) * sizeof *sums);
    for (int s = 0; s < f.shards.count; s++)
        for (int64_t row = f.shards.start[s]; row < f.shards.start[s + 1]; row++)
            LS_NAME(ls_epilogue_rows)(&f.out, s, 1, f.y + row * size);
    expect_same_reals("y", f.y, want, n);
    if (f.out.sums) expect_same_doubles("sums", f.out.sums, sums, f.shards.count * 2 * k);
    fixture_free();
}

static void epilogues(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (unsigned bits = 0; bits < 4; bits++)
            epilogue_of_shape(shapes[s], (bits & 1 ? BIAS : 0) | (bits & 2 ? SUMS : 0));
}

/* --- gradient prologue --- */

static void grad_prologues(void **state) {
    (void)state;
    const unsigned features[] = {0, DY_NORM, DY_NORM | DY_IN_PLACE};
    for (int i = 0; i < SHAPES * 3; i++) {
        fixture f = make(shapes[i / 3], features[i % 3]);
        const int64_t size = row_size(&f), n = f.rows * size;
        real *want = fixture_reals(n, 1), *out = fixture_reals(n, 2);
        for (int64_t e = 0; e < n; e++) want[e] = naive_grad_prologue(&f.dy, e / size, e % size);
        const bool in_place = features[i % 3] & DY_IN_PLACE;
        if (in_place) out = f.dy.stored;
        LS_NAME(ls_grad_prologue_rows)(&f.dy, 1, f.rows - 1, out + size);
        LS_NAME(ls_grad_prologue_rows)(&f.dy, 0, 1, out);
        expect_same_reals("dy", out, want, n);
        if (f.dy.stored) expect_same_reals("stored dy", f.dy.stored, want, n);
        fixture_free();
    }
}

/* --- gradient epilogue --- */

static void *copy(const void *from, size_t bytes) {
    return from ? memcpy(fixture_memory(bytes), from, bytes) : NULL;
}

/* One prologue, one gradient epilogue, dx' in a place of its own or where dz goes. */
static void check_grad_epilogue(const int64_t shape[3], unsigned features, bool in_place) {
    fixture f = make(shape, features);
    const int64_t size = row_size(&f), n = f.rows * size, sums = f.shards.count * 2 * f.x_channels;
    const size_t bytes = (size_t)n * sizeof(real), sum_bytes = (size_t)sums * sizeof(double);
    real *dx = fixture_reals(n, 3);
    if (f.in.stored) { /* what the forward pass leaves there */
        real *out = fixture_reals(n, 4);
        LS_NAME(ls_prologue_rows)(&f.in, 0, f.rows, out);
    }
    ls_grad_epilogue want = f.dx;
    want.dz = copy(f.dx.dz, bytes);
    want.dresidual = copy(f.dx.dresidual, bytes);
    want.sums = copy(f.dx.sums, sum_bytes);
    want.residual_sums = copy(f.dx.residual_sums, sum_bytes);
    naive_grad_epilogue(&f, &want, dx);
    if (f.dx.sums) memset(f.dx.sums, 0, sum_bytes);
    if (f.dx.residual_sums) memset(f.dx.residual_sums, 0, sum_bytes);
    f.dx.room = fixture_memory(2 * (size_t)ls_sums_room(f.x_channels) * sizeof(double));
    if (in_place) dx = memcpy(f.dx.dz, dx, bytes);
    for (int s = 0; s < f.shards.count; s++)
        for (int64_t row = f.shards.start[s]; row < f.shards.start[s + 1]; row++)
            LS_NAME(ls_grad_epilogue_rows)(&f.in, &f.dx, s, row, 1, dx + row * size);
    if (f.dx.dz) expect_same_reals("dz", f.dx.dz, want.dz, n);
    if (f.dx.dresidual) expect_same_reals("dresidual", f.dx.dresidual, want.dresidual, n);
    if (f.dx.sums) expect_same_doubles("sums", f.dx.sums, want.sums, sums);
    if (f.dx.residual_sums)
        expect_same_doubles("residual sums", f.dx.residual_sums, want.residual_sums, sums);
    fixture_free();
}

static void grad_epilogue_of_shape(void *context, unsigned features) {
    check_grad_epilogue(context, features | DX_SUMS, true);
    if (features & RESIDUAL)
        check_grad_epilogue(context, features | DX_SUMS | ACCUMULATE | DRESIDUAL | RESIDUAL_SUMS, false);
    else
        check_grad_epilogue(context, features | ACCUMULATE, false);
    check_grad_epilogue(context, features | OTHERS | DX_SUMS, false);
    check_grad_epilogue(context, features | OTHERS_AT_DZ | DX_SUMS, false);
}

static void grad_epilogues(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) each_prologue_and_activation(grad_epilogue_of_shape, (void *)shapes[s]);
    const unsigned free_bits =
        NO_DX | ACCUMULATE | DX_SUMS | DRESIDUAL | DRESIDUAL_ACCUMULATE | RESIDUAL_SUMS;
    const int64_t shape[] = {9, 7, 3};
    for (unsigned bits = free_bits; bits; bits = (bits - 1) & free_bits) {
        check_grad_epilogue(shape, NORM | RESIDUAL | RESIDUAL_NORM | TANH | DROPOUT | bits, false);
        check_grad_epilogue(shape, NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | OTHERS | bits, false);
    }
}

/* Shard -1: the same dz, no sums. */
static void no_shard_no_sums(void **state) {
    (void)state;
    fixture f = make(shapes[6], NORM | RELU | DX_SUMS);
    const int64_t n = f.rows * row_size(&f);
    real *dx = fixture_reals(n, 3), *want = fixture_reals(n, 4);
    const double before = f.dx.sums[0];
    for (int64_t i = 0; i < n; i++) want[i] = naive_back(&f.in, i / row_size(&f), i % row_size(&f), dx[i]);
    LS_NAME(ls_grad_epilogue_rows)(&f.in, &f.dx, -1, 0, f.rows, dx);
    expect_same_reals("dz", f.dx.dz, want, n);
    assert_true(f.dx.sums[0] == before);
    fixture_free();
}

#ifdef LS_F64
/* dz is the gradient of sum(x' dx') by z, so dz * scale (or dz alone) is the one by x. */
static void differences(void *context, unsigned features) {
    fixture f = make(context, features);
    const int64_t size = row_size(&f), n = f.rows * size;
    real *dx = fixture_reals(n, 3), *out = fixture_reals(n, 4), *x = (real *)f.in.x;
    LS_NAME(ls_prologue_rows)(&f.in, 0, f.rows, out);
    LS_NAME(ls_grad_epilogue_rows)(&f.in, &f.dx, -1, 0, f.rows, dx);
    void *stored = f.in.stored;
    f.in.stored = NULL;
    for (int64_t i = 0; i < n; i++) {
        const double h = 1e-6, was = x[i],
                     slope = f.in.norm.mean ? ((const real *)f.in.norm.scale)[i % f.x_channels] : 1;
        double up, down;
        x[i] = was + h, up = naive_prologue(&f.in, i / size, i % size);
        x[i] = was - h, down = naive_prologue(&f.in, i / size, i % size);
        x[i] = was;
        if (f.in.act.class && f.in.act.class->kink_at_0 && (up > 0) != (down > 0))
            continue; /* across the kink */
        assert_true(fabs(((const real *)f.dx.dz)[i] * slope - (up - down) / (2 * h) * dx[i]) < 1e-8);
    }
    f.in.stored = stored;
    fixture_free();
}

static void central_differences(void **state) {
    (void)state;
    each_prologue_and_activation(differences, (void *)shapes[6]);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prologues),           cmocka_unit_test(epilogues),
        cmocka_unit_test(grad_prologues),      cmocka_unit_test(grad_epilogues),
        cmocka_unit_test(no_shard_no_sums),
#ifdef LS_F64
        cmocka_unit_test(central_differences),
#endif
    };
#if defined LS_FOR_AVX512 || defined LS_FOR_AVX2
#ifdef LS_FOR_AVX512
    const ls_instruction_set tier = LS_AVX512;
#else
    const ls_instruction_set tier = LS_AVX2;
#endif
    if (ls_instruction_set_supported() < tier) return 77; /* skipped */
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
