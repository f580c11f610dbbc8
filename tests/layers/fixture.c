#include "layers/fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/elementary.h"
#include "core/rng.h"

/* --- memory and comparison --- */

enum { MAX_BLOCKS = 256 };
static void *block[MAX_BLOCKS];
static int blocks;

void *fixture_memory(size_t bytes) {
    assert_true(blocks < MAX_BLOCKS);
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(p);
    memset(p, 0, bytes);
    return block[blocks++] = p;
}

void fixture_free(void) {
    while (blocks > 0) free(block[--blocks]);
}

/* Without the rounding up of fixture_memory, so that a sanitizer sees every element too many. Large ones
 * begin on 64 bytes, as buffers of a plan do. */
real *fixture_reals(int64_t n, uint32_t seed) {
    enum { LARGE = 1 << 20 };
    const size_t bytes = (size_t)n * sizeof(real);
    void *memory = NULL;
    assert_true(blocks < MAX_BLOCKS);
    if (bytes < LARGE)
        memory = malloc(bytes);
    else
        assert_int_equal(posix_memalign(&memory, 64, bytes), 0);
    real *p = memory;
    assert_non_null(p);
    block[blocks++] = p;
    uint32_t x = seed * 2654435761u + 1;
    for (int64_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (real)((double)(x >> 8) * 0x1p-23 - 1);
    }
    return p;
}

void expect_same_reals(const char *what, const real *got, const real *want, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof(real)))
            fail_msg("%s[%lld] of %lld: %.17g instead of %.17g", what, (long long)i, (long long)n,
                     (double)got[i], (double)want[i]);
}

void expect_same_doubles(const char *what, const double *got, const double *want, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof(double)))
            fail_msg("%s[%lld] of %lld: %.17g instead of %.17g", what, (long long)i, (long long)n, got[i],
                     want[i]);
}

/* --- operands --- */

static ls_normalisation normalisation(int64_t channels, uint32_t seed) {
    return (ls_normalisation){fixture_reals(channels, seed), fixture_reals(channels, seed + 1),
                              fixture_reals(channels, seed + 2)};
}

static ls_activation activation_of(unsigned features) {
    if (features & RELU) return (ls_activation){.class = &ls_relu_activation};
    if (features & TANH) return (ls_activation){.class = &ls_tanh_activation};
    if (features & LEAKY) return (ls_activation){&ls_leaky_relu_activation, 0.3};
    if (features & SIGMOID) return (ls_activation){.class = &ls_sigmoid_activation};
    if (features & SILU) return (ls_activation){.class = &ls_silu_activation};
    if (features & GELU) return (ls_activation){.class = &ls_gelu_activation};
    return (ls_activation){0};
}

static void fill_prologue(fixture *f, unsigned features) {
    const int64_t n = f->rows * f->x_pixels * f->x_channels;
    ls_prologue *p = &f->in;
    *p = (ls_prologue){
        .pixels = f->x_pixels, .width = f->x_width, .channels = f->x_channels, .x = fixture_reals(n, 10)};
    for (int64_t i = 0; features & ZEROS && i < n; i++)
        if (i % p->channels % 5 < 2 || i % p->channels > 40) ((real *)p->x)[i] = i % 3 ? 0 : -(real)0;
    if (features & NORM) p->norm = normalisation(f->x_channels, 20);
    if (features & RESIDUAL) p->residual = fixture_reals(n, 30);
    if (features & RESIDUAL_NORM) p->residual_norm = normalisation(f->x_channels, 40);
    p->act = activation_of(features);
    if (features & DROPOUT) {
        uint32_t *sample = fixture_memory((size_t)(f->rows + 1) * sizeof *sample);
        for (int64_t row = 0; row < f->rows; row++) sample[row] = (uint32_t)(row * 7919 % 60000);
        p->dropout = (ls_dropout_mask){.active = true,
                                       .seed = 0x123456789abcdefu,
                                       .op = 3,
                                       .step = 77,
                                       .threshold = 0xB3333333u,
                                       .scale = 1 / 0.7,
                                       .sample = sample};
    }
    if (features & STORED) p->stored = fixture_reals(n, 50);
}

static double *sums(const fixture *f, int64_t channels) {
    double *p = fixture_memory((size_t)(f->shards.count * 2 * channels) * sizeof *p);
    for (int64_t i = 0; i < f->shards.count * 2 * channels; i++)
        p[i] = -12345; /* what the kernels must clear */
    return p;
}

void fixture_fill(fixture *f, unsigned features) {
    f->features = features;
    f->rows = ls_shards_rows(&f->shards);
    fill_prologue(f, features);
    const int64_t x_size = f->rows * f->x_pixels * f->x_channels,
                  y_size = f->rows * f->y_pixels * f->y_channels;
    f->weight = fixture_reals(f->weights, 60);
    f->y = fixture_reals(y_size, 70);
    f->out = (ls_epilogue){.pixels = f->y_pixels, .width = f->y_width, .channels = f->y_channels};
    if (features & BIAS) f->out.bias = fixture_reals(f->y_channels, 80);
    if (features & SUMS) f->out.sums = sums(f, f->y_channels);
    f->dy =
        (ls_grad_prologue){.pixels = f->y_pixels, .channels = f->y_channels, .dz = fixture_reals(y_size, 90)};
    if (features & DY_NORM) {
        f->dy.y = fixture_reals(y_size, 91);
        f->dy.mean = fixture_reals(f->y_channels, 92);
        f->dy.a = fixture_reals(f->y_channels, 93);
        f->dy.b = fixture_reals(f->y_channels, 94);
        f->dy.c = fixture_reals(f->y_channels, 95);
        f->dy.stored = features & DY_IN_PLACE ? (void *)f->dy.dz : fixture_reals(y_size, 96);
    }
    f->dx = (ls_grad_epilogue){.accumulate = features & ACCUMULATE,
                               .dresidual_accumulate = features & DRESIDUAL_ACCUMULATE};
    if (!(features & NO_DX)) f->dx.dz = fixture_reals(x_size, 100);
    if (features & OTHERS) f->dx.others = fixture_reals(x_size, 102);
    if (features & OTHERS_AT_DZ) f->dx.others = f->dx.dz;
    if (features & DX_SUMS) f->dx.sums = sums(f, f->x_channels);
    if (features & DRESIDUAL) f->dx.dresidual = fixture_reals(x_size, 101);
    if (features & RESIDUAL_SUMS) f->dx.residual_sums = sums(f, f->x_channels);
    f->node_stride = f->weights + f->y_channels + 5;
    f->dweight = fixture_reals(f->node_stride * f->shards.node_count, 110);
    f->dbias = features & BIAS ? f->dweight + f->weights + 2 : NULL;
}

/* --- slow and obvious --- */

static real at(const void *vector, int64_t i) {
    return ((const real *)vector)[i];
}

static real naive_normalise(const ls_normalisation *norm, int64_t c, real x) {
    real deviation = x - at(norm->mean, c);
    real scaled = deviation * at(norm->scale, c);
    return scaled + at(norm->shift, c);
}

static real naive_input(const ls_prologue *p, int64_t row, int64_t e) {
    const int64_t i = row * p->pixels * p->channels + e, c = e % p->channels;
    real z = at(p->x, i);
    if (p->norm.mean) z = naive_normalise(&p->norm, c, z);
    if (p->residual) {
        real r = at(p->residual, i);
        if (p->residual_norm.mean) r = naive_normalise(&p->residual_norm, c, r);
        z = z + r;
    }
    return z;
}

static double logistic(double z) {
    return 1 / (1 + ls_exp(-z));
}
static double normal(double z) {
    return 0.5 * (1 + ls_erf(z * sqrt(0.5)));
}

static real naive_activation(const ls_prologue *p, int64_t row, int64_t e) {
    const real z = naive_input(p, row, e);
    const ls_activation_class *act = p->act.class;
    if (act == &ls_relu_activation) return z > 0 ? z : 0;
    if (act == &ls_leaky_relu_activation) return z > 0 ? z : (real)0.3 * z;
#ifdef LS_F64
    if (act == &ls_tanh_activation) return ls_tanh(z);
#else
    if (act == &ls_tanh_activation) return ls_tanhf(z);
#endif
    if (act == &ls_sigmoid_activation) return (real)logistic((double)z);
    if (act == &ls_silu_activation) return (real)((double)z * logistic((double)z));
    if (act == &ls_gelu_activation) return (real)((double)z * normal((double)z));
    return z;
}

static real naive_drop(const ls_dropout_mask *mask, int64_t row, int64_t e, real v) {
    if (!mask->active) return v;
    uint32_t word[4];
    ls_rng rng = ls_rng_stream(mask->seed, LS_RNG_DROPOUT, mask->op, mask->step, mask->sample[row]);
    ls_rng_block(&rng, (uint32_t)(e / 4), word);
    return word[e % 4] < mask->threshold ? v * (real)mask->scale : 0;
}

real naive_prologue(const ls_prologue *p, int64_t row, int64_t e) {
    return naive_drop(&p->dropout, row, e, naive_activation(p, row, e));
}

real naive_back(const ls_prologue *p, int64_t row, int64_t e, real dx) {
    real g = naive_drop(&p->dropout, row, e, dx), t = naive_activation(p, row, e);
    const ls_activation_class *act = p->act.class;
    const double z = (double)naive_input(p, row, e), s = logistic(z);
    if (act == &ls_relu_activation) return t > 0 ? g : 0;
    if (act == &ls_leaky_relu_activation) return z > 0 ? g : (real)0.3 * g;
    if (act == &ls_tanh_activation) return g * (1 - t * t);
    if (act == &ls_sigmoid_activation) return g * (t * (1 - t));
    if (act == &ls_silu_activation) return (real)((double)g * (s * (1 + z * (1 - s))));
    if (act == &ls_gelu_activation)
        return (real)((double)g * (normal(z) + z * (0.39894228040143267794 * ls_exp(-0.5 * z * z))));
    return g;
}

real naive_grad_prologue(const ls_grad_prologue *p, int64_t row, int64_t e) {
    const int64_t i = row * p->pixels * p->channels + e, c = e % p->channels;
    if (!p->a) return at(p->dz, i);
    real first = at(p->a, c) * at(p->dz, i), second = at(p->b, c) * (at(p->y, i) - at(p->mean, c));
    return first + second + at(p->c, c);
}

void naive_sums(const ls_shards *shards, int64_t pixels, int64_t width, int64_t channels, const real *v,
                const real *factor, double *sums) {
    for (int s = 0; s < shards->count; s++)
        for (int64_t c = 0; c < channels; c++) {
            double shard[2] = {0, 0};
            for (int64_t row = shards->start[s]; row < shards->start[s + 1]; row++) {
                double image[2] = {0, 0};
                for (int64_t line = 0; line < pixels / width; line++) {
                    double sum[2] = {0, 0};
                    for (int64_t i = 0; i < width; i++) {
                        const int64_t e = ((row * pixels) + line * width + i) * channels + c;
                        sum[0] += (double)v[e];
                        sum[1] += (double)v[e] * (double)factor[e];
                    }
                    for (int k = 0; k < 2; k++) image[k] += sum[k];
                }
                for (int k = 0; k < 2; k++) shard[k] += image[k];
            }
            for (int k = 0; k < 2; k++) sums[(s * 2 + k) * channels + c] = shard[k];
        }
}

/* Sums of v and v (x - mean). */
static void sums_with_deviations(const fixture *f, const real *v, const void *x, const void *mean,
                                 double *sums_of_shards) {
    const ls_prologue *p = &f->in;
    const int64_t n = f->rows * p->pixels * p->channels;
    real *deviation = malloc((size_t)n * sizeof *deviation + 1);
    assert_non_null(deviation);
    for (int64_t i = 0; i < n; i++) deviation[i] = mean ? at(x, i) - at(mean, i % p->channels) : at(x, i);
    naive_sums(&f->shards, p->pixels, p->width, p->channels, v, deviation, sums_of_shards);
    free(deviation);
}

void naive_grad_epilogue(const fixture *f, const ls_grad_epilogue *e, const real *dx) {
    const ls_prologue *p = &f->in;
    const int64_t size = p->pixels * p->channels, n = f->rows * size;
    real *dz = e->dz, *dresidual = e->dresidual;
    real *v = malloc((size_t)(2 * n) * sizeof *v + 1), *w = v + n;
    assert_non_null(v);
    for (int64_t i = 0; i < n; i++) {
        const real whole = e->others ? ((const real *)e->others)[i] + dx[i] : dx[i];
        const real g = naive_back(p, i / size, i % size, whole);
        v[i] = dz && e->accumulate ? dz[i] + g : g;
        if (dz) dz[i] = v[i];
        w[i] = dresidual && e->dresidual_accumulate ? dresidual[i] + g : g;
        if (dresidual) dresidual[i] = w[i];
    }
    if (e->sums) sums_with_deviations(f, v, p->x, p->norm.mean, e->sums);
    if (e->residual_sums) sums_with_deviations(f, w, p->residual, p->residual_norm.mean, e->residual_sums);
    free(v);
}

static const unsigned activations[] = {0, RELU, TANH, LEAKY, SIGMOID, SILU, GELU};

static void each(size_t count, void (*f)(void *context, unsigned features), void *context) {
    const unsigned residual[] = {0, RESIDUAL, RESIDUAL | RESIDUAL_NORM};
    for (int r = 0; r < 3; r++)
        for (size_t a = 0; a < count; a++)
            for (unsigned rest = 0; rest < 8; rest++)
                f(context, residual[r] | activations[a] | (rest & 1 ? NORM : 0) | (rest & 2 ? DROPOUT : 0) |
                               (rest & 4 ? STORED : 0));
}

void each_prologue(void (*f)(void *context, unsigned features), void *context) {
    each(4, f, context);
}

void each_prologue_and_activation(void (*f)(void *context, unsigned features), void *context) {
    each(sizeof activations / sizeof *activations, f, context);
}
