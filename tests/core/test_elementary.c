#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/elementary.h"
#include "core/rng.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { RANDOM = 400000, DENSE = 200000 };

typedef struct function {
    const char *name;
    double (*ours)(double);
    long double (*reference)(long double);
    double low, high; /* the range where the result is neither 0 nor infinite */
} function;

static const function doubles[] = {
    {"exp", ls_exp, expl, -745.2, 709.8}, {"log", ls_log_e, logl, 0, DBL_MAX},
    {"tanh", ls_tanh, tanhl, -25, 25},    {"sin", ls_sin, sinl, -1e5, 1e5},
    {"cos", ls_cos, cosl, -1e5, 1e5},     {"erf", ls_erf, erfl, -6.5, 6.5},
};

/* The distance of `got` from `exact` in units of the last place of a format of `digits` bits at `exact`. */
static double places(long double got, long double exact, int digits, int least_exponent) {
    int exponent;
    frexpl(exact, &exponent);
    exponent = exponent > least_exponent ? exponent : least_exponent;
    return (double)(fabsl(got - exact) / ldexpl(1.0L, exponent - digits));
}

static double places_double(double got, long double exact) {
    return places((long double)got, exact, DBL_MANT_DIG, DBL_MIN_EXP);
}

static double bits_to_double(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float bits_to_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t word64(uint32_t op, uint32_t index) {
    uint32_t words[4];
    ls_rng rng = ls_rng_stream(11, LS_RNG_TEST, op, 0, 0);
    ls_rng_block(&rng, index, words);
    return (uint64_t)words[0] << 32 | words[1];
}

typedef struct worst {
    double error, at;
} worst;

static void check(worst *w, const function *f, double x) {
    if (!(x >= f->low && x <= f->high)) return;
    long double exact = f->reference((long double)x);
    if (fabsl(exact) > (long double)DBL_MAX) return;
    double error = places_double(f->ours(x), exact);
    if (!(error <= w->error)) *w = (worst){error, x};
}

static void double_functions_within_two_places(void **state) {
    (void)state;
#if LDBL_MANT_DIG < 64
    skip(); /* nothing more exact to compare with */
#endif
    for (size_t n = 0; n < sizeof doubles / sizeof *doubles; n++) {
        const function *f = &doubles[n];
        worst w = {0, 0};
        double low = f->low > -1e6 ? f->low : -1e6, high = f->high < 1e6 ? f->high : 1e6;
        for (uint32_t i = 0; i < RANDOM; i++) {
            uint64_t word = word64((uint32_t)n, i);
            double unit = (double)(word >> 11) * 0x1p-53;
            check(&w, f, low + unit * (high - low)); /* evenly over the range */
            check(&w, f, 4 * unit - 2);              /* where results are of the order of 1 */
            check(&w, f, bits_to_double(word));      /* evenly over the exponents */
            check(&w, f,
                  bits_to_double((word & ~(UINT64_C(0x7fe) << 52)) | (UINT64_C(0x3fe) << 52))); /* 1/2..2 */
            uint64_t exponent = 0x3c0 + (word >> 52) % 0x51; /* 2^-63 .. 2^17 */
            check(&w, f, bits_to_double((word & ~(UINT64_C(0x7ff) << 52)) | exponent << 52));
            check(&w, f,
                  nextafter((double)((int)(word % 127326) - 63663) * 0x1.921fb54442d18p+0, (double)i - 2));
        }
        for (uint32_t i = 0; i <= DENSE; i++) check(&w, f, low + (high - low) * ((double)i / DENSE));
        print_message("%-4s largest error %.4f units in the last place, at %a\n", f->name, w.error, w.at);
        assert_true(w.error < 2);
    }
}

static void subnormal_and_edge_results(void **state) {
    (void)state;
    const double inf = (double)INFINITY, nan = (double)NAN;
    assert_true(ls_exp(0) == 1 && ls_exp(-0.0) == 1 && ls_exp(inf) == inf && ls_exp(-inf) == 0);
    assert_true(isnan(ls_exp(nan)) && ls_exp(709.79) == inf && ls_exp(-745.14) == 0);
    assert_true(ls_exp(0x1.62e42fefa39efp+9) < inf && ls_exp(0x1.62e42fefa39f0p+9) == inf);
    assert_true(ls_exp(-745) == 0x1p-1074 && ls_exp(DBL_MAX) == inf && ls_exp(-DBL_MAX) == 0);
    assert_true(ls_log_e(1) == 0 && !signbit(ls_log_e(1)) && ls_log_e(inf) == inf);
    assert_true(ls_log_e(0.0) == -inf && ls_log_e(-0.0) == -inf && isnan(ls_log_e(-1)) &&
                isnan(ls_log_e(-inf)));
    assert_true(isnan(ls_log_e(nan)));
    assert_true(ls_tanh(inf) == 1 && ls_tanh(-inf) == -1 && ls_tanh(1e300) == 1 && isnan(ls_tanh(nan)));
    assert_true(ls_tanh(0x1p-1074) == 0x1p-1074 && signbit(ls_tanh(-0.0)) && ls_tanh(-0.5) == -ls_tanh(0.5));
    assert_true(ls_erf(inf) == 1 && ls_erf(-inf) == -1 && ls_erf(1e300) == 1 && isnan(ls_erf(nan)));
    assert_true(ls_erf(0x1p-1074) == 0x1p-1074 && signbit(ls_erf(-0.0)) && ls_erf(-0.5) == -ls_erf(0.5));
    assert_true(ls_sin(0x1p-1074) == 0x1p-1074 && signbit(ls_sin(-0.0)) && ls_cos(0) == 1 &&
                ls_cos(-0.0) == 1);
    assert_true(isnan(ls_sin(inf)) && isnan(ls_sin(nan)) && isnan(ls_cos(-inf)) && isnan(ls_cos(nan)));
    assert_true(isnan(ls_sin(1.1e5)) &&
                isnan(ls_cos(-1.1e5))); /* out of the promised range: not a wrong number */
    assert_true(ls_expf(0) == 1 && ls_expf(INFINITY) == INFINITY && ls_expf(-INFINITY) == 0 &&
                isnan(ls_expf(NAN)));
    assert_true(ls_expf(88.72284f) == INFINITY && ls_expf(88.72283f) < INFINITY && ls_expf(-104) == 0);
    assert_true(ls_expf(-103.9f) == 0x1p-149f);
    assert_true(ls_logf(0) == -INFINITY && isnan(ls_logf(-1)) && ls_logf(INFINITY) == INFINITY &&
                isnan(ls_logf(NAN)));
    assert_true(ls_tanhf(INFINITY) == 1 && ls_tanhf(-INFINITY) == -1 && isnan(ls_tanhf(NAN)));
    assert_true(signbit(ls_tanhf(-0.0f)) && ls_tanhf(0x1p-149f) == 0x1p-149f && ls_tanhf(9.9f) == 1);
}

static void float_functions_round_once(void **state) {
    (void)state;
#if LDBL_MANT_DIG < 64
    skip();
#endif
    static const struct {
        const char *name;
        float (*ours)(float);
        long double (*reference)(long double);
    } floats[] = {{"expf", ls_expf, expl}, {"logf", ls_logf, logl}, {"tanhf", ls_tanhf, tanhl}};
    for (size_t n = 0; n < sizeof floats / sizeof *floats; n++) {
        double error = 0;
        for (uint32_t i = 0; i < RANDOM; i++) {
            uint64_t word = word64(100 + (uint32_t)n, i);
            const float inputs[] = {bits_to_float((uint32_t)word), ((float)(word >> 40) - 0x1p23f) * 0x1p-17f,
                                    ((float)(word >> 40) - 0x1p23f) * 0x1p-22f};
            for (int j = 0; j < 3; j++) {
                float got = floats[n].ours(inputs[j]);
                if (!isfinite(got)) continue;
                long double exact = floats[n].reference((long double)inputs[j]);
                double e = places((long double)got, exact, FLT_MANT_DIG, FLT_MIN_EXP);
                if (e > error) error = e;
            }
        }
        print_message("%-5s largest error %.6f units in the last place\n", floats[n].name, error);
        assert_true(error < 0.5005);
    }
}

static void powers(void **state) {
    (void)state;
    assert_true(ls_pow(3, 0) == 1 && ls_pow(0, 0) == 1 && ls_pow(1, (double)INFINITY) == 1 &&
                ls_pow(0, 2.5) == 0);
    assert_true(ls_pow_int(0.5, 0) == 1 && ls_pow_int(0.5, 10) == 0x1p-10 &&
                ls_pow_int(3, 33) == 5559060566555523.0);
    assert_true(ls_pow_int(-2, 63) == -0x1p63 && ls_pow_int(1, UINT64_MAX) == 1 &&
                ls_pow_int(0.9, 1 << 30) == 0);
    double error = 0;
    for (uint32_t i = 0; i < RANDOM; i++) {
        uint64_t word = word64(200, i);
        double x = bits_to_double((word >> 12) | (0x3c0 + word % 0x80) << 52); /* 2^-63 .. 2^64 */
        double y = ((double)(word64(201, i) >> 11) * 0x1p-52 - 1) * 100 / fmax(1e-3, fabs(log(x)));
        long double exact = powl((long double)x, (long double)y);
        error = fmax(error, (double)fabsl(((long double)ls_pow(x, y) - exact) / exact));
    }
    print_message("pow  largest relative error %.3g\n", error);
    assert_true(error < 1e-13);
}

/* A change of one bit anywhere shows here: between compilers, processors, options, or in the source. */
static void bits_are_pinned(void **state) {
    (void)state;
    enum { COUNT = 20000, KINDS = 12 };
    double *out = malloc(sizeof *out * COUNT * KINDS), *next = out;
    assert_non_null(out);
    for (uint32_t i = 0; i < COUNT; i++) {
        double unit = ls_rng_unit((uint32_t)word64(300, i)), signed_unit = 2 * unit - 1;
        *next++ = ls_exp(750 * signed_unit);
        *next++ = ls_exp(signed_unit);
        *next++ = ls_log_e(bits_to_double(word64(301, i) >> 1 & ~(UINT64_C(1) << 62)));
        *next++ = ls_log_e(2 * unit);
        *next++ = ls_tanh(25 * signed_unit);
        *next++ = ls_tanh(signed_unit);
        *next++ = ls_sin(1e5 * signed_unit);
        *next++ = ls_cos(1e5 * signed_unit);
        *next++ = ls_pow(100 * unit, 20 * signed_unit) + ls_pow_int(unit, i);
        *next++ = (double)ls_expf((float)(100 * signed_unit));
        *next++ = (double)ls_logf((float)(100 * unit));
        *next++ = (double)ls_tanhf((float)(10 * signed_unit));
    }
    uint64_t hash = XXH3_64bits(out, sizeof *out * COUNT * KINDS);
    for (uint32_t i = 0; i < COUNT; i++) out[i] = ls_erf(7 * (2 * ls_rng_unit((uint32_t)word64(300, i)) - 1));
    uint64_t erf_hash = XXH3_64bits(out, sizeof *out * COUNT);
    free(out);
    if (erf_hash != UINT64_C(0xc790a038ce989390))
        print_message("erf: hash 0x%016llx\n", (unsigned long long)erf_hash);
    assert_true(erf_hash == UINT64_C(0xc790a038ce989390));
    if (hash != UINT64_C(0x81e485c8f2571e9f)) print_message("hash 0x%016llx\n", (unsigned long long)hash);
    assert_true(hash == UINT64_C(0x81e485c8f2571e9f));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(double_functions_within_two_places),
        cmocka_unit_test(subnormal_and_edge_results),
        cmocka_unit_test(float_functions_round_once),
        cmocka_unit_test(powers),
        cmocka_unit_test(bits_are_pinned),
    };
    return cmocka_run_group_tests_name("elementary", tests, NULL, NULL);
}
