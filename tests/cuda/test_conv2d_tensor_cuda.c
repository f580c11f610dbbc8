/* Convolutions by tensor cores, emulated: products against loops in double over the rounded factors, within a
 * bound derived from the number of terms; all else (x', sums, cuts, masks) to the bit, from what the kernels
 * have stored. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/conv2d/conv2d.h"
#include "layers/elementwise.h"
#include "orders.h"
#include "twins.h"

typedef struct shape {
    int64_t height, width, inputs, outputs, kernel_h, kernel_w, stride, pad;
} shape;

/* The layers of the reports' networks, and what fills no tile, no word and no block; taps and outputs of more
 * than one block, images of several strips. */
static const shape shapes[] = {
    {28, 28, 1, 16, 3, 3, 1, 1},  {28, 28, 16, 16, 3, 3, 1, 1}, {28, 28, 16, 32, 3, 3, 2, 1},
    {28, 28, 16, 32, 1, 1, 2, 0}, {14, 14, 32, 32, 3, 3, 1, 1}, {14, 14, 32, 64, 3, 3, 2, 1},
    {14, 14, 32, 64, 1, 1, 2, 0}, {7, 7, 64, 64, 3, 3, 1, 1},   {28, 28, 1, 8, 5, 5, 1, 0},
    {9, 10, 16, 16, 3, 3, 1, 1},  {11, 9, 17, 20, 3, 3, 1, 1},  {5, 6, 33, 18, 3, 3, 1, 1},
    {6, 9, 16, 40, 3, 3, 1, 2},   {7, 6, 24, 16, 3, 3, 1, 0},   {8, 43, 16, 16, 3, 3, 1, 1},
    {10, 9, 3, 5, 3, 3, 1, 1},    {9, 10, 4, 8, 3, 3, 2, 1},    {5, 6, 2, 7, 5, 3, 3, 2},
    {11, 9, 1, 3, 7, 7, 2, 3},    {5, 5, 6, 4, 1, 1, 1, 0},     {4, 33, 2, 3, 4, 2, 5, 1},
    {9, 7, 2, 3, 3, 3, 9, 1},     {3, 40, 2, 2, 1, 37, 1, 4},   {5, 4, 5, 70, 3, 3, 1, 1},
    {1, 1, 3, 2, 1, 1, 1, 0},     {40, 90, 18, 3, 3, 3, 2, 1},  {3, 4, 2, 1, 2, 2, 1, 3},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

enum {
    NORM = 1 << 0,
    RESIDUAL = 1 << 1,
    RESIDUAL_NORM = 1 << 2,
    RELU = 1 << 3,
    STORED = 1 << 4,
    BIAS = 1 << 5,
    DY_NORM = 1 << 6,
    ACCUMULATE = 1 << 7,
    OTHERS = 1 << 8,
    DRESIDUAL = 1 << 9,
    NARROW_X = 1 << 10, /* and x', with what goes back through it */
    NARROW_Y = 1 << 11,
    TF32 = 1 << 12,
    NO_DX = 1 << 13
};

static const unsigned mixes[] = {
    NARROW_X | NARROW_Y,
    BIAS | NARROW_Y,
    NORM | RELU | DY_NORM | BIAS | NARROW_X | NARROW_Y,
    NORM | RESIDUAL | RELU | STORED | DY_NORM | OTHERS | NARROW_X | NARROW_Y,
    NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | DY_NORM | DRESIDUAL | NARROW_X | NARROW_Y,
    NORM | RELU | ACCUMULATE | BIAS | TF32,
    NORM | RELU | DY_NORM | TF32,
    RESIDUAL | RELU | OTHERS | DRESIDUAL | TF32,
    NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | DY_NORM | TF32 | BIAS,
    DY_NORM | NO_DX | NARROW_Y,
    RELU | NARROW_X | ACCUMULATE,
};
enum { MIXES = sizeof mixes / sizeof *mixes };

/* --- arrays: floats on the host, and on the device floats or bf16 numbers --------------------------- */

typedef struct array {
    float *host;
    void *device;
    int64_t count;
    bool narrow;
} array;

enum { MOST = 32 };
static array *made[MOST];
static int made_count;

static void *memory(size_t bytes) {
    void *m = calloc(1, bytes + 64);
    assert_non_null(m);
    return m;
}

static float rounded(float x, int dropped) {
    uint32_t b;
    if (x != x) return x;
    memcpy(&b, &x, sizeof b);
    b += (1u << (dropped - 1)) - 1 + (b >> dropped & 1);
    b &= ~((1u << dropped) - 1);
    memcpy(&x, &b, sizeof b);
    return x;
}

static void upload(array *a) {
    uint16_t *words = memory((size_t)a->count * 2);
    for (int64_t i = 0; a->narrow && i < a->count; i++) {
        uint32_t b;
        memcpy(&b, &a->host[i], sizeof b);
        words[i] = (uint16_t)(b >> 16);
    }
    a->device = a->narrow ? to_device(words, (size_t)a->count * 2 + 16)
                          : to_device(a->host, (size_t)a->count * 4 + 16);
    free(words);
}

static void download(array *a) {
    uint16_t *words = memory((size_t)a->count * 2);
    if (!a->narrow) read_device(a->host, a->device, (size_t)a->count * 4);
    if (a->narrow) read_device(words, a->device, (size_t)a->count * 2);
    for (int64_t i = 0; a->narrow && i < a->count; i++) {
        const uint32_t b = (uint32_t)words[i] << 16;
        memcpy(&a->host[i], &b, sizeof b);
    }
    free(words);
}

/* Numbers of (-scale, scale), some 0; scale 0: NaN, what nobody has written. */
static void make(array *a, int64_t count, double scale, bool narrow) {
    const ls_rng rng = ls_rng_stream(77, LS_RNG_TEST, 2, 0, (uint32_t)made_count);
    assert_true(made_count < MOST);
    *a = (array){memory((size_t)count * 4), NULL, count, narrow};
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)(i / 4), words);
        for (int64_t k = 0; k < 4 && i + k < count; k++) {
            const float x = words[k] % 8 == 0 ? 0 : (float)((2 * ls_rng_unit(words[k]) - 1) * scale);
            a->host[i + k] = scale == 0 ? NAN : narrow ? rounded(x, 16) : x;
        }
    }
    upload(a);
    made[made_count++] = a;
}

static void free_all(void) {
    while (made_count > 0) {
        array *a = made[--made_count];
        free_device(a->device);
        free(a->host);
    }
}

/* --- a case ------------------------------------------------------------------------------------------ */

typedef struct operands {
    ls_conv2d_args args; /* with the device's addresses */
    ls_shards shards;
    unsigned features;
    array weight, x, vectors, residual, stored, y, dz, yn, others, dx, dresidual, gradient, before,
        residual_before;
    array sums, dx_sums, residual_sums; /* of doubles: two numbers each */
    array room, partial;
} operands;

static int64_t aligned(int64_t n) {
    return (n + 3) / 4 * 4;
}

static const ls_conv2d_kernels *kernels_of(unsigned features) {
    return features & TF32 ? &ls_conv2d_tensor_tf32_cuda : &ls_conv2d_tensor_bf16_cuda;
}

static ls_conv2d_args sizes_of(const shape *s) {
    return (ls_conv2d_args){.height = s->height,
                            .width = s->width,
                            .inputs = s->inputs,
                            .out_height = (s->height + 2 * s->pad - s->kernel_h) / s->stride + 1,
                            .out_width = (s->width + 2 * s->pad - s->kernel_w) / s->stride + 1,
                            .outputs = s->outputs,
                            .kernel_h = s->kernel_h,
                            .kernel_w = s->kernel_w,
                            .stride = s->stride,
                            .pad = s->pad,
                            .winograd = 4,
                            .node_stride =
                                s->kernel_h * s->kernel_w * s->inputs * s->outputs + s->outputs + 3};
}

static void begin(operands *o, const shape *s, const cut *c, unsigned f) {
    *o = (operands){.args = sizes_of(s), .shards = shards_of(c), .features = f};
    ls_conv2d_args *a = &o->args;
    const int64_t rows = ls_shards_rows(&o->shards), x = rows * s->height * s->width * s->inputs,
                  y = rows * a->out_height * a->out_width * s->outputs, sums = 2 * o->shards.count;
    const int64_t weights = s->kernel_h * s->kernel_w * s->inputs * s->outputs;
    const int64_t ci = aligned(s->inputs), ck = aligned(s->outputs);
    const bool nx = f & NARROW_X, ny = f & NARROW_Y;
    make(&o->weight, weights, 1, false);
    make(&o->x, x, 1, nx);
    make(&o->vectors, 6 * ci + 5 * ck, 1, false);
    make(&o->residual, x, 1, nx);
    make(&o->stored, x, 0, nx);
    make(&o->y, y, 0, ny);
    make(&o->dz, y, 1, ny);
    make(&o->yn, y, 1, ny); /* the BatchNorm's input behind: y itself, in training */
    make(&o->others, x, 1, nx);
    make(&o->dx, x, 1, nx);
    make(&o->dresidual, x, 1, nx);
    make(&o->gradient, o->shards.node_count * a->node_stride, 0, false);
    make(&o->sums, 2 * sums * s->outputs, 0, false);
    make(&o->dx_sums, 2 * sums * s->inputs, 0, false);
    make(&o->residual_sums, 2 * sums * s->inputs, 0, false);
    const ls_conv2d_kernels *k = kernels_of(f);
    make(&o->room, (int64_t)k->workspace_bytes(a, o->shards.count, rows, true) / 4, 0, false);
    make(&o->partial, o->shards.count * k->shard_gradient_elements(a), 0, false);
    const float *v = o->vectors.device;
    a->weight = o->weight.device;
    a->in = (ls_prologue){.pixels = a->height * a->width,
                          .width = a->width,
                          .channels = a->inputs,
                          .narrow_x = nx,
                          .narrow_residual = nx,
                          .narrow = nx,
                          .x = o->x.device,
                          .residual = f & RESIDUAL ? o->residual.device : NULL,
                          .stored = f & STORED ? o->stored.device : NULL};
    if (f & NORM) a->in.norm = (ls_normalisation){v, v + ci, v + 2 * ci};
    if (f & RESIDUAL_NORM) a->in.residual_norm = (ls_normalisation){v + 3 * ci, v + 4 * ci, v + 5 * ci};
    if (f & RELU) a->in.act = (ls_activation){.class = &ls_relu_activation};
    v += 6 * ci;
    a->out = (ls_epilogue){.pixels = a->out_height * a->out_width,
                           .width = a->out_width,
                           .channels = a->outputs,
                           .narrow = ny,
                           .bias = f & BIAS ? v : NULL,
                           .sums = o->sums.device};
    a->y = o->y.device;
    a->dy = (ls_grad_prologue){.pixels = a->out_height * a->out_width,
                               .channels = a->outputs,
                               .narrow_dz = ny,
                               .narrow_y = ny,
                               .dz = o->dz.device};
    if (f & DY_NORM) {
        a->dy.y = o->yn.device;
        a->dy.mean = v + ck, a->dy.a = v + 2 * ck, a->dy.b = v + 3 * ck, a->dy.c = v + 4 * ck;
    }
    a->dx = (ls_grad_epilogue){.narrow_dz = nx,
                               .narrow_dresidual = nx,
                               .others = f & OTHERS ? o->others.device : NULL,
                               .dz = f & NO_DX ? NULL : o->dx.device,
                               .accumulate = f & ACCUMULATE,
                               .sums = f & NO_DX ? NULL : o->dx_sums.device};
    if (f & DRESIDUAL) a->dx.dresidual = o->dresidual.device;
    if (f & RESIDUAL_NORM) a->dx.residual_sums = o->residual_sums.device;
    a->dweight = o->gradient.device;
    a->dbias = f & BIAS ? (float *)o->gradient.device + weights + 1 : NULL;
    a->workspace = o->room.device;
    a->shard_gradients = o->partial.device;
}

static void run(operands *o) {
    const ls_conv2d_kernels *k = kernels_of(o->features);
    const ls_shards *s = &o->shards;
    const ls_lane lane = emulated_lane();
    const ls_conv2d_args *list[] = {&o->args};
    k->forward(&o->args, s, 0, s->count, &lane);
    k->backward(&o->args, s, 0, s->count, &lane);
    k->weight_grads(list, 1, s, &lane);
}

/* --- the reference: loops in double ------------------------------------------------------------------ */

/* x' and dy as factors, and x' itself, by the CPU's element-by-element kernels. */
typedef struct factors {
    float *x, *unrounded, *dy, *weight;
} factors;

static float factor(const operands *o, float v) {
    return rounded(v, o->features & TF32 ? 13 : 16);
}

static factors factors_of(const operands *o) {
    const ls_conv2d_args *a = &o->args;
    const float *v = o->vectors.host;
    const int64_t ci = aligned(a->inputs), ck = aligned(a->outputs);
    factors f = {memory((size_t)o->x.count * 4), memory((size_t)o->x.count * 4),
                 memory((size_t)o->y.count * 4), memory((size_t)o->weight.count * 4)};
    ls_prologue in = a->in;
    const ls_lane lane = {0};
    in.x = o->x.host;
    in.residual = in.residual ? o->residual.host : NULL;
    in.stored = NULL;
    if (in.norm.mean) in.norm = (ls_normalisation){v, v + ci, v + 2 * ci};
    if (in.residual_norm.mean) in.residual_norm = (ls_normalisation){v + 3 * ci, v + 4 * ci, v + 5 * ci};
    ls_elementwise_ref_f32.forward(&in, &o->shards, 0, o->shards.count, f.unrounded, &lane);
    ls_grad_prologue dy = a->dy;
    v += 6 * ci;
    dy.dz = o->dz.host;
    if (dy.a) dy.y = o->yn.host, dy.mean = v + ck, dy.a = v + 2 * ck, dy.b = v + 3 * ck, dy.c = v + 4 * ck;
    ls_elementwise_ref_f32.normalised_gradient(&dy, false, &o->shards, 0, o->shards.count, f.dy, &lane);
    for (int64_t i = 0; i < o->x.count; i++) f.x[i] = factor(o, f.unrounded[i]);
    for (int64_t i = 0; i < o->y.count; i++) f.dy[i] = factor(o, f.dy[i]);
    for (int64_t i = 0; i < o->weight.count; i++) f.weight[i] = factor(o, o->weight.host[i]);
    return f;
}

static void free_factors(const factors *f) {
    free(f->x);
    free(f->unrounded);
    free(f->dy);
    free(f->weight);
}

/* A sum, and that of the absolute values of its terms. */
typedef struct total {
    double sum, absolute;
    int64_t terms;
} total;

static void add(total *t, double v) {
    t->sum += v;
    t->absolute += fabs(v);
    t->terms++;
}

/* fp32 sums in any order, and cut off instead of rounded, lose at most 2^-23 of the largest partial sum an
 * addition; what is stored rounds once more. */
static void close_to(double got, const total *t, bool narrow, double others, const char *what) {
    const double bound = (double)(t->terms + 4) * 0x1p-23 * (t->absolute + others) +
                         (narrow ? 3 * 0x1p-9 : 0x1p-23) * (fabs(t->sum) + others) + 1e-37;
    if (!(fabs(got - t->sum) <= bound))
        fail_msg("%s: %.9g, expected %.9g within %.3g", what, got, t->sum, bound);
}

/* y of an element, and what belongs to dx' and dw, by walking over all products of a row. */
typedef struct expected {
    total *y, *dx, *dw, *db;
} expected;

static void walk(const operands *o, const factors *f, expected *e) {
    const ls_conv2d_args *a = &o->args;
    const ls_shards *s = &o->shards;
    const int64_t each = a->node_stride;
    for (int n = 0; n < s->node_count; n++) {
        const int first = s->node[n].first - s->first;
        for (int64_t row = s->start[first]; row < s->start[first + s->node[n].count]; row++)
            for (int64_t i = 0; i < a->out_height; i++)
                for (int64_t j = 0; j < a->out_width; j++)
                    for (int64_t k = 0; k < a->outputs; k++) {
                        const int64_t y = ((row * a->out_height + i) * a->out_width + j) * a->outputs + k;
                        add(&e->db[n * a->outputs + k], (double)f->dy[y]);
                        for (int64_t u = 0; u < a->kernel_h; u++)
                            for (int64_t v = 0; v < a->kernel_w; v++) {
                                const int64_t h = i * a->stride + u - a->pad, w = j * a->stride + v - a->pad;
                                if (h < 0 || h >= a->height || w < 0 || w >= a->width) continue;
                                const int64_t x = ((row * a->height + h) * a->width + w) * a->inputs;
                                const int64_t tap = (u * a->kernel_w + v) * a->inputs * a->outputs + k;
                                for (int64_t c = 0; c < a->inputs; c++) {
                                    const int64_t at = tap + c * a->outputs;
                                    add(&e->y[y], (double)f->x[x + c] * (double)f->weight[at]);
                                    add(&e->dx[x + c], (double)f->dy[y] * (double)f->weight[at]);
                                    add(&e->dw[n * each + at], (double)f->x[x + c] * (double)f->dy[y]);
                                }
                            }
                    }
    }
}

static double doubles_at(const array *a, int64_t i) {
    double v;
    memcpy(&v, a->host + 2 * i, sizeof v);
    return v;
}

/* Sums of lines, images and shards of what was stored: first of g, second of g x (g NULL: of x and x x). */
static void check_sums(const operands *o, const array *sums, int64_t lines, int64_t width, int64_t channels,
                       const float *g, const float *x, const float *mean, const char *what) {
    const ls_shards *s = &o->shards;
    for (int shard = 0; shard < s->count; shard++)
        for (int64_t c = 0; c < channels; c++) {
            double all[2] = {0, 0};
            for (int64_t row = s->start[shard]; row < s->start[shard + 1]; row++) {
                double image[2] = {0, 0};
                for (int64_t l = 0; l < lines; l++) {
                    double line[2] = {0, 0};
                    for (int64_t p = 0; p < width; p++) {
                        const int64_t at = ((row * lines + l) * width + p) * channels + c;
                        const float v = mean ? x[at] - mean[c] : x[at];
                        line[0] += g ? (double)g[at] : (double)x[at];
                        line[1] += g ? (double)g[at] * (double)v : (double)x[at] * (double)x[at];
                    }
                    for (int i = 0; i < 2; i++) image[i] += line[i];
                }
                for (int i = 0; i < 2; i++) all[i] += image[i];
            }
            for (int i = 0; i < 2; i++) {
                const double got = doubles_at(sums, (shard * 2 + i) * channels + c);
                if (memcmp(&got, &all[i], sizeof got) != 0)
                    fail_msg("%s %d of shard %d, channel %d: %.17g, expected %.17g", what, i, shard, (int)c,
                             got, all[i]);
            }
        }
}

static void check_gradients(const operands *o, const factors *f, const expected *e) {
    const ls_conv2d_args *a = &o->args;
    for (int64_t i = 0; i < o->x.count; i++) {
        const bool kept = !(o->features & RELU) || f->unrounded[i] > 0;
        total t = e->dx[i];
        double others = 0;
        if (o->features & OTHERS)
            t.sum += (double)o->others.host[i], others += fabs((double)o->others.host[i]);
        if (!kept) t.sum = 0;
        total r = t;
        if (o->features & ACCUMULATE)
            t.sum += (double)o->before.host[i], others += fabs((double)o->before.host[i]);
        close_to((double)o->dx.host[i], &t, o->dx.narrow, others, "dz");
        if (a->dx.dresidual)
            close_to((double)o->dresidual.host[i], &r, o->dx.narrow, others, "the residual's gradient");
    }
}

static void check_results(operands *o, const factors *f, const expected *e) {
    const ls_conv2d_args *a = &o->args;
    const float *v = o->vectors.host;
    const int64_t ci = aligned(a->inputs), weights = o->weight.count;
    for (int64_t i = 0; i < o->y.count; i++) {
        total t = e->y[i];
        double bias = 0;
        if (a->out.bias) bias = (double)v[6 * ci + i % a->outputs];
        t.sum += bias;
        close_to((double)o->y.host[i], &t, o->y.narrow, fabs(bias), "y");
    }
    check_sums(o, &o->sums, a->out_height, a->out_width, a->outputs, NULL, o->y.host, NULL, "sum of y");
    for (int64_t i = 0; a->in.stored && i < o->x.count; i++) {
        const float want = o->x.narrow ? rounded(f->unrounded[i], 16) : f->unrounded[i];
        if (memcmp(&want, &o->stored.host[i], sizeof want) != 0) fail_msg("x' %d differs", (int)i);
    }
    for (int n = 0; n < o->shards.node_count; n++) {
        for (int64_t i = 0; i < weights; i++)
            close_to((double)o->gradient.host[n * a->node_stride + i], &e->dw[n * a->node_stride + i], false,
                     0, "dw");
        for (int64_t k = 0; a->dbias && k < a->outputs; k++)
            close_to((double)o->gradient.host[n * a->node_stride + weights + 1 + k],
                     &e->db[n * a->outputs + k], false, 0, "db");
    }
    if (o->features & NO_DX) return;
    check_gradients(o, f, e);
    check_sums(o, &o->dx_sums, a->height, a->width, a->inputs, o->dx.host, o->x.host,
               a->in.norm.mean ? v : NULL, "sum of dz");
    if (a->dx.residual_sums)
        check_sums(o, &o->residual_sums, a->height, a->width, a->inputs,
                   a->dx.dresidual ? o->dresidual.host : o->dx.host, o->residual.host, v + 3 * ci,
                   "sum of the residual's gradient");
}

static void fetch(operands *o) {
    array *all[] = {&o->y,        &o->stored, &o->dx,      &o->dresidual,
                    &o->gradient, &o->sums,   &o->dx_sums, &o->residual_sums};
    o->before.host = memory((size_t)o->dx.count * 4);
    memcpy(o->before.host, o->dx.host, (size_t)o->dx.count * 4);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) download(all[i]);
}

static bool fits(const shape *s, unsigned features) {
    const ls_conv2d_args a = sizes_of(s);
    return kernels_of(features)->fits(&a);
}

static void check(const shape *s, const cut *c, unsigned features) {
    operands *o = memory(sizeof *o);
    begin(o, s, c, features);
    run(o);
    fetch(o);
    const factors f = factors_of(o);
    expected e = {memory((size_t)o->y.count * sizeof *e.y), memory((size_t)o->x.count * sizeof *e.dx),
                  memory((size_t)o->gradient.count * sizeof *e.dw),
                  memory((size_t)(o->shards.node_count * s->outputs) * sizeof *e.db)};
    walk(o, &f, &e);
    check_results(o, &f, &e);
    free(e.y);
    free(e.dx);
    free(e.dw);
    free(e.db);
    free_factors(&f);
    free(o->before.host);
    free_all();
    free(o);
}

/* --- the tests ------------------------------------------------------------------------------------- */

static void every_shape(void **state) {
    static const cut few = {4, 0, 1, 3};
    int fitting = 0;
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int m = 0; m < 2; m++) {
            const unsigned mix = mixes[(i + m * 5) % MIXES];
            if (!fits(&shapes[i], mix)) continue;
            set_order((i + m) % ORDERS);
            check(&shapes[i], &few, mix);
            fitting++;
        }
    assert_true(fitting >= 2 * SHAPES - 4);
}

static void every_mix(void **state) {
    static const shape few[] = {
        {9, 10, 6, 9, 3, 3, 2, 1}, {7, 6, 16, 20, 3, 3, 1, 1}, {8, 9, 18, 16, 2, 3, 1, 1}};
    static const cut some = {4, 0, 1, 5};
    (void)state;
    for (int order = 0; order < ORDERS; order++) {
        set_order(order);
        for (int m = 0; m < MIXES; m++) check(&few[(m + order) % 3], &some, mixes[m]);
    }
}

/* Ragged and empty shards, of one image and of several, on ranks of several. */
static void every_cut(void **state) {
    static const shape few[] = {{5, 6, 3, 5, 3, 3, 2, 1}, {5, 6, 16, 16, 3, 3, 1, 1}};
    (void)state;
    for (int i = 0; i < CUTS; i++) {
        set_order(i % ORDERS);
        for (int k = 0; k < 2; k++) check(&few[k], &cuts[i], mixes[i % 2 ? 4 : 8]);
    }
}

/* The bits of all results, in every order of threads, are those of the first. */
static void every_order(void **state) {
    static const shape one = {9, 10, 20, 24, 3, 3, 1, 1};
    static const cut some = {4, 0, 1, 9};
    static const unsigned two[] = {NORM | RESIDUAL | RESIDUAL_NORM | RELU | DY_NORM | NARROW_X | NARROW_Y,
                                   NORM | RELU | BIAS | DY_NORM | TF32};
    (void)state;
    for (int m = 0; m < 2; m++) {
        float *first[4] = {NULL};
        for (int order = 0; order < ORDERS; order++) {
            operands *o = memory(sizeof *o);
            set_order(order);
            begin(o, &one, &some, two[m]);
            run(o);
            fetch(o);
            const array *all[] = {&o->y, &o->dx, &o->gradient, &o->dx_sums};
            for (int i = 0; i < 4; i++) {
                const size_t bytes = (size_t)all[i]->count * 4;
                if (order == 0) first[i] = memcpy(memory(bytes), all[i]->host, bytes);
                assert_memory_equal(first[i], all[i]->host, bytes);
            }
            free(o->before.host);
            free_all();
            free(o);
        }
        for (int i = 0; i < 4; i++) free(first[i]);
    }
}

/* --- cuts ------------------------------------------------------------------------------------------ */

/* What a cut reads and writes, on one side: [3][channels] statistics behind their count, mean and variance;
 * gamma, beta; vectors. */
typedef struct cut_memory {
    double *moments;
    float *vectors;
} cut_memory;

static ls_batchnorm_cut cut_of(const cut_memory *m, const double *sums, int64_t c, double elements,
                               ls_statistics *st) {
    float *v = m->vectors;
    *st = (ls_statistics){
        .kind = LS_STATISTICS_EXPONENTIAL, .momentum = 0.1, .channels = c, .values = m->moments};
    return (ls_batchnorm_cut){.purpose = LS_TRAINING,
                              .statistics = st,
                              .sums = sums,
                              .elements = elements,
                              .eps = 1e-5,
                              .channels = c,
                              .gamma = v,
                              .beta = v + c,
                              .mean = m->moments + 1 + 3 * c,
                              .variance = m->moments + 1 + 4 * c,
                              .out = {v + 2 * c, v + 3 * c, v + 4 * c, v + 5 * c, v + 6 * c, v + 7 * c}};
}

static ls_batchnorm_grad_cut grad_cut_of(const cut_memory *m, const double *sums, int64_t c,
                                         double elements) {
    float *v = m->vectors;
    return (ls_batchnorm_grad_cut){.sums = sums,
                                   .variance = m->moments + 1 + 4 * c,
                                   .eps = 1e-5,
                                   .elements = elements,
                                   .channels = c,
                                   .gamma = v,
                                   .out = {v + 2 * c, v + 3 * c, v + 4 * c, v + 5 * c, v + 6 * c, v + 7 * c},
                                   .dgamma = v + 8 * c,
                                   .dbeta = v + 9 * c};
}

/* The tree over the shards, as core/shards.h writes it. */
static void add_shards(const array *sums, int shards, int64_t length, double *to) {
    for (int64_t i = 0; i < length; i++) {
        double pending[LS_MAX_TREE_DEPTH] = {0};
        int depth = 0;
        for (int s = 0; s < shards; s++) {
            double sum = doubles_at(sums, s * length + i);
            for (int m = ls_tree_merges(s); m > 0; m--) sum = pending[--depth] + sum;
            pending[depth++] = sum;
        }
        to[i] = pending[0];
    }
}

static void cuts_by_the_last_block(void **state) {
    static const shape one = {6, 7, 20, 24, 3, 3, 1, 1};
    static const cut all[] = {{16, 0, 1, 33}, {1, 0, 1, 2}, {4, 0, 1, 3}};
    (void)state;
    for (int i = 0; i < 6; i++) {
        operands *o = memory(sizeof *o);
        array moments[3], vectors[3];
        cut_memory m[3], on[3];
        ls_statistics st, host_st;
        set_order(i % ORDERS);
        begin(o, &one, &all[i / 2],
              NORM | RESIDUAL | RESIDUAL_NORM | RELU | DY_NORM | (i % 2 ? TF32 : NARROW_X | NARROW_Y));
        for (int k = 0; k < 3; k++) {
            const int64_t c = k == 0 ? one.outputs : one.inputs;
            make(&moments[k], 2 * (1 + 5 * c), 1, false);
            make(&vectors[k], 10 * c, 1, false);
            double *d = (double *)(void *)moments[k].host;
            for (int64_t j = 0; j < 1 + 5 * c; j++) d[j] = fabs((double)vectors[k].host[j % (10 * c)]) + 0.25;
            free_device(moments[k].device);
            upload(&moments[k]);
            m[k] = (cut_memory){moments[k].device, vectors[k].device};
            on[k] = (cut_memory){d, vectors[k].host};
        }
        const double rows = (double)ls_shards_rows(&o->shards), pixels = (double)(one.height * one.width);
        const ls_batchnorm_cut forth = cut_of(&m[0], NULL, one.outputs, rows * pixels, &st);
        const ls_batchnorm_grad_cut back = grad_cut_of(&m[1], NULL, one.inputs, rows * pixels),
                                    beside = grad_cut_of(&m[2], NULL, one.inputs, rows * pixels);
        o->args.out.cut = &forth;
        o->args.dx.cut = &back;
        o->args.dx.residual_cut = &beside;
        run(o);
        fetch(o);
        double *sums = memory(2 * 64 * sizeof *sums);
        const ls_lane lane = {0};
        add_shards(&o->sums, o->shards.count, 2 * one.outputs, sums);
        const ls_batchnorm_cut want = cut_of(&on[0], sums, one.outputs, rows * pixels, &host_st);
        ls_batchnorm_ref_f32.cut(&want, &lane);
        add_shards(&o->dx_sums, o->shards.count, 2 * one.inputs, sums);
        ls_batchnorm_grad_cut want_back = grad_cut_of(&on[1], sums, one.inputs, rows * pixels);
        ls_batchnorm_ref_f32.grad_cut(&want_back, &lane);
        add_shards(&o->residual_sums, o->shards.count, 2 * one.inputs, sums);
        want_back = grad_cut_of(&on[2], sums, one.inputs, rows * pixels);
        ls_batchnorm_ref_f32.grad_cut(&want_back, &lane);
        for (int k = 0; k < 3; k++) {
            array *both[] = {&moments[k], &vectors[k]};
            for (int b = 0; b < 2; b++) {
                const size_t bytes = (size_t)both[b]->count * 4;
                float *host = memcpy(memory(bytes), both[b]->host, bytes);
                download(both[b]);
                assert_memory_equal(both[b]->host, host, bytes);
                free(host);
            }
        }
        free(sums);
        free(o->before.host);
        free_all();
        free(o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_shape), cmocka_unit_test(every_mix),
                                       cmocka_unit_test(every_cut), cmocka_unit_test(every_order),
                                       cmocka_unit_test(cuts_by_the_last_block)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
