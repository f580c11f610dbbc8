/* How fast the convolutions of the ResNet are on one core, in every tier of instructions that this processor
 * has (in the highest in bf16), in CPU time; beside them what a loop of multiply-adds of the same tier
 * reaches in between. The operations counted are the nominal ones, with the taps that meet padding. "fused"
 * adds the prologues and epilogues that stand around a convolution between two BatchNorms. Not a test: run it
 * by hand.
 *
 *     bench_conv2d [seconds for each line [tier [part of the line's name]]] */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/backend.h"
#include "layers/conv2d/conv2d.h"
#include "layers/elementwise.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *must(void *p) {
    if (!p) {
        fprintf(stderr, "bench_conv2d: out of memory\n");
        exit(70);
    }
    return p;
}

/* --- the ceiling: 12 independent sums of one register each ------------------------------------- */

enum { CEILING_STEPS = 100000, SUMS = 12 };

typedef float portable_vector __attribute__((vector_size(16)));

static double portable_loop(void) {
    portable_vector s[SUMS] = {{0}}, f = {0.5f}, g = {1.0f};
    for (int n = 0; n < CEILING_STEPS; n++) {
        __asm__ volatile(""
                         : "+x"(f), "+x"(g)); /* neither constant: the product must be computed each time */
        for (int i = 0; i < SUMS; i++) s[i] += f * g;
    }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "x"(s[i]));
    return 2.0 * 4 * SUMS * CEILING_STEPS;
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx2,fma"))) static double avx2_loop(void) {
    __m256 s[SUMS], f = _mm256_set1_ps(0.5f);
    for (int i = 0; i < SUMS; i++) s[i] = f;
    for (int n = 0; n < CEILING_STEPS; n++) {
        __asm__ volatile("" : "+x"(f));
        for (int i = 0; i < SUMS; i++) s[i] = _mm256_fmadd_ps(f, f, s[i]);
    }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "x"(s[i]));
    return 2.0 * 8 * SUMS * CEILING_STEPS;
}

__attribute__((target("avx512f"))) static double avx512_loop(void) {
    __m512 s[SUMS], f = _mm512_set1_ps(0.5f);
    for (int i = 0; i < SUMS; i++) s[i] = f;
    for (int n = 0; n < CEILING_STEPS; n++) {
        __asm__ volatile("" : "+v"(f));
        for (int i = 0; i < SUMS; i++) s[i] = _mm512_fmadd_ps(f, f, s[i]);
    }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "v"(s[i]));
    return 2.0 * 16 * SUMS * CEILING_STEPS;
}
/* On words of two numbers. */
__attribute__((target("avx512f,avx512bf16"))) static double bf16_loop(void) {
    __m512 s[SUMS], f = _mm512_set1_ps(0.5f);
    for (int i = 0; i < SUMS; i++) s[i] = f;
    for (int n = 0; n < CEILING_STEPS; n++) {
        __asm__ volatile("" : "+v"(f));
        for (int i = 0; i < SUMS; i++) s[i] = _mm512_dpbf16_ps(s[i], (__m512bh)f, (__m512bh)f);
    }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "v"(s[i]));
    return 4.0 * 16 * SUMS * CEILING_STEPS;
}
static double (*const loops[])(void) = {portable_loop, avx2_loop, avx512_loop, bf16_loop, bf16_loop};
#else
static double (*const loops[])(void) = {portable_loop};
#endif

/* --- layers ------------------------------------------------------------------------------------ */

enum { BATCH = 64, SHARDS = 4 };

/* n floats around 0, none of them denormal */
static float *numbers(int64_t n) {
    float *p = must(malloc((size_t)n * sizeof *p));
    uint32_t x = 1;
    for (int64_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (float)(x >> 8) * 0x1p-24f - 0.5f;
    }
    return p;
}

typedef struct layer {
    const ls_conv2d_kernels *kernels;
    ls_shards shards;
    ls_conv2d_args args;
    ls_lane lane;
} layer;

static void forward(layer *l) {
    l->kernels->forward(&l->args, &l->shards, 0, l->shards.count, &l->lane);
}

static void gradients(layer *l) {
    l->kernels->backward(&l->args, &l->shards, 0, l->shards.count, &l->lane);
    l->kernels->weight_grad(&l->args, &l->shards, 0, l->kernels->weight_grad_parts(&l->args), &l->lane);
}

static const char *wanted = "";

/* Best of many, in turn with the loop. */
static void report(const char *name, double flop, double seconds, ls_instruction_set set, void (*f)(layer *l),
                   layer *l) {
    double best = 1e30, ceiling = 0, stop = now() + seconds;
    if (!strstr(name, wanted)) return;
    do {
        const double start = now(), done = loops[set](), between = now();
        f(l);
        const double end = now();
        if (done / (between - start) > ceiling) ceiling = done / (between - start);
        if (end - between < best) best = end - between;
    } while (now() < stop);
    printf("%-9s %-38s %7.2f of %7.2f GFLOP/s %6.1f %%  %8.2f us an image\n", ls_instruction_set_name(set),
           name, 1e-9 * flop / best, 1e-9 * ceiling, 100 * flop / best / ceiling, 1e6 * best / BATCH);
}

/* Square images and kernels, half padding. */
static void bench(int64_t size, int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride, bool fused,
                  ls_instruction_set set, double seconds) {
    const ls_backend *backend;
    const int64_t pad = kernel / 2, out = (size + 2 * pad - kernel) / stride + 1;
    const int64_t x_count = BATCH * size * size * inputs, y_count = BATCH * out * out * outputs;
    const int64_t weights = kernel * kernel * inputs * outputs;
    layer l = {0};
    if (ls_shards_create(&l.shards, SHARDS, 0, 1, BATCH) ||
        ls_backend_find_for(set >= LS_AVX512_BF16 ? LS_PRECISION_BF16 : LS_PRECISION_FP32, set, &backend))
        exit(70);
    float *x = numbers(x_count), *y = numbers(y_count), *w = numbers(weights), *dw = numbers(weights);
    float *dx = numbers(x_count), *dz = numbers(y_count), *vector = numbers(3 * 64), *stored = NULL,
          *shard_sums = NULL;
    double *sums = must(calloc(SHARDS * 2 * 64, sizeof *sums));
    l.args = (ls_conv2d_args){.height = size,
                              .width = size,
                              .inputs = inputs,
                              .out_height = out,
                              .out_width = out,
                              .outputs = outputs,
                              .kernel_h = kernel,
                              .kernel_w = kernel,
                              .stride = stride,
                              .pad = pad,
                              .winograd = 4,
                              .weight = w,
                              .y = y,
                              .dweight = dw,
                              .in = {.pixels = size * size, .width = size, .channels = inputs, .x = x},
                              .dy = {.pixels = out * out, .channels = outputs, .dz = dz},
                              .dx = {.dz = inputs > 1 ? dx : NULL}};
    l.kernels = ls_conv2d_kernels_for(backend, &l.args);
    if (fused) {
        l.args.in.norm = (ls_normalisation){vector, vector + 64, vector + 128};
        l.args.in.act.class = &ls_relu_activation;
        l.args.out = (ls_epilogue){.pixels = out * out, .width = out, .channels = outputs, .sums = sums};
        l.args.dx.sums = sums;
        l.args.dy = (ls_grad_prologue){.pixels = out * out,
                                       .channels = outputs,
                                       .dz = dz,
                                       .y = y,
                                       .mean = vector,
                                       .a = vector + 64,
                                       .b = vector + 128,
                                       .c = vector,
                                       .stored = dz};
    }
    if (l.kernels->shard_gradient_elements)
        l.args.shard_gradients = shard_sums = numbers(SHARDS * l.kernels->shard_gradient_elements(&l.args));
    else if (fused)
        l.args.in.stored = stored = numbers(x_count);
    l.lane.scratch =
        must(aligned_alloc(64, (l.kernels->scratch_bytes(&l.args, BATCH / SHARDS) + 63) / 64 * 64));
    const double flop = 2.0 * BATCH * (double)(out * out * weights);
    char name[80];
    snprintf(name, sizeof name, "%dx%d/%d %dx%dx%d -> %d forward%s", (int)kernel, (int)kernel, (int)stride,
             (int)size, (int)size, (int)inputs, (int)outputs, fused ? ", fused" : "");
    report(name, flop, seconds, set, forward, &l);
    snprintf(name, sizeof name, "%dx%d/%d %dx%dx%d -> %d gradients%s", (int)kernel, (int)kernel, (int)stride,
             (int)size, (int)size, (int)inputs, (int)outputs, fused ? ", fused" : "");
    report(name, inputs > 1 ? 2 * flop : flop, seconds, set, gradients, &l);
    free(x), free(y), free(w), free(dw), free(dx), free(dz), free(vector), free(sums), free(stored),
        free(shard_sums);
    free(l.lane.scratch);
}

int main(int argc, char **argv) {
    static const int64_t layers[][5] = {{28, 1, 16, 3, 1},  {28, 16, 16, 3, 1}, {28, 16, 32, 3, 2},
                                        {28, 16, 32, 1, 2}, {14, 32, 32, 3, 1}, {14, 32, 64, 3, 2},
                                        {14, 32, 64, 1, 2}, {7, 64, 64, 3, 1}};
    const double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    if (argc > 3) wanted = argv[3];
    for (ls_instruction_set set = LS_PORTABLE; set <= ls_instruction_set_supported(); set++) {
        if (argc > 2 && strcmp(argv[2], ls_instruction_set_name(set)) != 0) continue;
        for (int fused = 0; fused < 2; fused++)
            for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
                if (!fused || layers[i][1] > 1)
                    bench(layers[i][0], layers[i][1], layers[i][2], layers[i][3], layers[i][4], fused, set,
                          seconds);
    }
    return 0;
}
