/* How fast the kernels of every tier are on one core: the dense layers of the MLP (784-600-100-10), in a batch
 * cut into 16 shards (of convolutions: bench_conv2d). Best of many runs; beside them what
 * multiplications and additions of one register can reach. Not a test: run it by hand.
 *
 *     bench_kernels [seconds for each line] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "layers/dense/dense.h"

typedef void (*work)(void *context);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* others may have the core in between */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const char *name, double flop, double seconds, work f, void *context) {
    double best = 1e30, stop = now() + seconds;
    int runs = 0;
    do {
        double start = now();
        f(context);
        double t = now() - start;
        if (t < best) best = t;
        runs++;
    } while (now() < stop || runs < 3);
    printf("%-44s %8.2f GFLOP/s  %9.1f us\n", name, 1e-9 * flop / best, 1e6 * best);
}

/* --- the ceiling: 12 independent sums of one register each -------------------------------- */

typedef float vec __attribute__((vector_size(16)));

enum { CEILING_STEPS = 100000 };

static void ceiling(void *context) {
    volatile float *cell = context;
    vec s[12], f = {0.5f, 0.5f, 0.5f, 0.5f}, g = {1.0f, 2.0f, 3.0f, 4.0f};
    for (int i = 0; i < 12; i++) s[i] = (vec){(float)i, 1, 2, 3};
    f[0] = cell[0];
    for (int n = 0; n < CEILING_STEPS; n++) {
        __asm__ volatile(""
                         : "+x"(f), "+x"(g)); /* neither constant: the product must be computed each time */
        for (int i = 0; i < 12; i++) s[i] += f * g;
    }
    for (int i = 1; i < 12; i++) s[0] += s[i];
    cell[0] = s[0][0] * 0 + 0.5f;
}

#ifdef __x86_64__

/* The same with fused multiply-adds of the vector tiers. */
#define FMA_CEILING(name, instructions, type, constraint, set1, fmadd)                                       \
    __attribute__((target(instructions))) static void name(void *context) {                                  \
        volatile float *cell = context;                                                                      \
        type s[12], f = set1(cell[0]), g = set1(0.25f);                                                      \
        for (int i = 0; i < 12; i++) s[i] = set1((float)i);                                                  \
        for (int n = 0; n < CEILING_STEPS; n++) {                                                            \
            __asm__ volatile("" : "+" constraint(f), "+" constraint(g));                                     \
            for (int i = 0; i < 12; i++) s[i] = fmadd(f, g, s[i]);                                           \
        }                                                                                                    \
        float sum = 0;                                                                                       \
        for (int i = 0; i < 12; i++) sum += s[i][0];                                                         \
        cell[0] = sum * 0 + 0.5f;                                                                            \
    }
FMA_CEILING(ceiling_avx2, "avx2,fma", __m256, "x", _mm256_set1_ps, _mm256_fmadd_ps)
FMA_CEILING(ceiling_avx512, "avx512f", __m512, "v", _mm512_set1_ps, _mm512_fmadd_ps)

#endif

/* --- layers ------------------------------------------------------------------------------- */

enum { BATCH = 256, SHARDS = 16 };

static void *must(void *p) {
    if (!p) {
        fprintf(stderr, "bench_kernels: out of memory\n");
        exit(70);
    }
    return p;
}

/* n floats around 0, none of them denormal */
static float *numbers(int64_t n) {
    float *p =
        must(aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64)); /* as arenas and plans have it */
    uint32_t x = 1;
    for (int64_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (float)(x >> 8) * 0x1p-24f - 0.5f;
    }
    return p;
}

typedef struct layer {
    ls_shards shards;
    ls_lane lane;
    const ls_dense_kernels *kernels;
    ls_dense_args dense;
} layer;

static void dense_forward(void *c) {
    layer *l = c;
    l->kernels->forward(&l->dense, &l->shards, 0, l->shards.count, &l->lane);
}

static void dense_backward(void *c) {
    layer *l = c;
    l->kernels->backward(&l->dense, &l->shards, 0, l->shards.count, &l->lane);
    if (l->kernels->pack) l->kernels->pack(&l->dense, &l->shards, 0, l->shards.count, &l->shards, &l->lane);
}

static void dense_weight_grad(void *c) {
    layer *l = c;
    l->kernels->weight_grad(&l->dense, &l->shards, 0, l->kernels->weight_grad_parts(&l->dense), &l->lane);
}

/* The rows of rank 0 of `ranks`. */
static void bench_dense(ls_instruction_set tier, int ranks, int64_t inputs, int64_t outputs, double seconds) {
    const ls_backend *backend;
    if (ls_backend_find_for(LS_PRECISION_FP32, tier, &backend)) exit(70);
    layer l = {.kernels = ls_dense_kernels_for(backend)};
    if (ls_shards_create(&l.shards, SHARDS, 0, ranks, BATCH)) exit(70);
    float *x = numbers(BATCH * inputs), *w = numbers(inputs * outputs), *y = numbers(BATCH * outputs);
    float *dx = numbers(BATCH * inputs), *dw = numbers((inputs + 1) * outputs);
    l.dense = (ls_dense_args){.inputs = inputs,
                              .outputs = outputs,
                              .weight = w,
                              .y = y,
                              .dweight = dw,
                              .in = {.pixels = 1, .channels = inputs, .x = x},
                              .out = {.bias = w},
                              .dy = {.pixels = 1, .channels = outputs, .dz = y},
                              .dx = {.dz = dx},
                              .dbias = dw + inputs * outputs};
    l.lane.scratch = must(aligned_alloc(64, (l.kernels->scratch_bytes(&l.dense, BATCH) + 63) / 64 * 64));
    if (l.kernels->packed_bytes) {
        const size_t bytes = l.kernels->packed_bytes(&l.dense, ls_shards_rows(&l.shards), l.shards.count);
        l.dense.packed = must(aligned_alloc(64, (bytes + 63) / 64 * 64));
    }
    const double flop = 2.0 * (double)ls_shards_rows(&l.shards) * (double)inputs * (double)outputs;
    char name[80];
    const struct {
        const char *what;
        work f;
    } lines[] = {
        {"forward", dense_forward}, {"backward", dense_backward}, {"weight_grad", dense_weight_grad}};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s dense %d x %d -> %d %s", ls_instruction_set_name(tier),
                 (int)ls_shards_rows(&l.shards), (int)inputs, (int)outputs, lines[i].what);
        report(name, flop, seconds, lines[i].f, &l);
    }
    free(x), free(w), free(y), free(dx), free(dw), free(l.lane.scratch), free(l.dense.packed);
}

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    float cell = 0.5f;
    report("multiply and add, registers only", 12 * 2 * 4.0 * CEILING_STEPS, seconds, ceiling, &cell);
    for (int tier = LS_PORTABLE; tier <= (int)ls_instruction_set_supported(); tier++) {
#ifdef __x86_64__
        if (tier == LS_AVX2)
            report("fused, AVX2", 12 * 2 * 8.0 * CEILING_STEPS, seconds, ceiling_avx2, &cell);
        if (tier == LS_AVX512)
            report("fused, AVX-512", 12 * 2 * 16.0 * CEILING_STEPS, seconds, ceiling_avx512, &cell);
#endif
        for (int ranks = 1; ranks <= 16; ranks *= 4) {
            bench_dense((ls_instruction_set)tier, ranks, 784, 600, seconds);
            bench_dense((ls_instruction_set)tier, ranks, 600, 100, seconds);
            bench_dense((ls_instruction_set)tier, ranks, 100, 10, seconds);
        }
    }
    return 0;
}
