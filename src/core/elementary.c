/* Series and argument reductions in plain double arithmetic. The shapes are those of fdlibm (Sun, 1993:
 * e_exp.c, e_log.c, s_tanh.c, k_sin.c, k_cos.c); the polynomials are plain Taylor series, a term or two
 * longer than a fitted one, whose coefficients anybody can check. Sums are written as balanced trees (Estrin)
 * where a chain would wait on itself. The files are compiled with -ffp-contract=off: the order on paper is
 * the order run. Kernels of CUDA are made of this source too (core/elementary_cuda.h). */
#include "core/elementary.h"

#include <math.h>
#include <string.h>

/* Added and taken away again, it rounds |v| < 2^51 to the nearest integer, which is then in the low bits. */
static const double round_shift = 0x1.8p52;

static const double log2_e = 0x1.71547652b82fep+0;
/* ln 2 = high + low; high has 32 bits, so k * high is exact for every exponent k. */
static const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;

LS_DUAL_INLINE uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

LS_DUAL_INLINE double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^k for -1022 <= k <= 1023. */
LS_DUAL_INLINE double power_of_two(int k) {
    return from_bits((uint64_t)(1023 + k) << 52);
}

LS_DUAL_INLINE double with_sign_of(double magnitude, double sign) {
    return from_bits(bits_of(magnitude) | (bits_of(sign) & UINT64_C(1) << 63));
}

/* x = k ln 2 + high + low with |high| <= 0.347 and low what high lost in rounding. */
typedef struct reduced {
    int k;
    double high, low;
} reduced;

LS_DUAL_INLINE reduced reduce_ln2(double x) {
    double shifted = x * log2_e + round_shift;
    double k = shifted - round_shift;
    double exact = x - k * ln2_high, tail = k * ln2_low;
    double high = exact - tail;
    reduced r;
    r.k = (int)(int32_t)(uint32_t)bits_of(shifted);
    r.high = high;
    r.low = (exact - high) - tail;
    return r;
}

/* (e^r - 1 - r) / r^2 for |r| <= 0.347, cut off after r^13 / 13!: 2^-60 of e^r. */
LS_DUAL_INLINE double exp_tail(double r) {
    double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    double a = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
    double b = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
    double c = (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800));
    return (a + r4 * b) + r8 * c;
}

/* e^r - 1, cut off after r^9 / 9!: 2^-37 of it, which is plenty for a result in single precision. */
LS_DUAL_INLINE double expm1_short(double r) {
    double r2 = r * r, r4 = r2 * r2;
    double a = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
    double b = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
    return r + r2 * (a + r4 * b);
}

LS_DUAL double ls_exp(double x) {
    if (!(x <= 0x1.62e42fefa39efp+9))
        return x > 0 ? (double)INFINITY : x + x; /* above log(DBL_MAX), or NaN */
    if (x < -746) return 0;                      /* below log of half the least number */
    reduced r = reduce_ln2(x);
    double y = 1 + (r.high + (r.low + r.high * r.high * exp_tail(r.high)));
    /* Two powers, since 2^k itself can be out of range; the first product is exact, the second rounds once.
     */
    int half = r.k / 2;
    return y * power_of_two(half) * power_of_two(r.k - half);
}

LS_DUAL double ls_log_e(double x) {
    if (!(x > 0)) return x == 0 ? -(double)INFINITY : (double)NAN;
    if (x == (double)INFINITY) return x;
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    /* x = 2^k m with sqrt(1/2) <= m < sqrt(2): the constant is the bits of sqrt(1/2). */
    uint64_t offset = bits_of(x) - UINT64_C(0x3fe6a09e667f3bcd);
    int exponent = (int)((int64_t)offset >> 52);
    double m = from_bits(bits_of(x) - ((uint64_t)exponent << 52));
    k += exponent;

    /* log m = f - f^2/2 + s (f^2/2 + R) with f = m - 1, s = f / (2 + f), R = 2 (s^2/3 + s^4/5 + ..);
     * s^2 <= 0.0295, so that the first term left out is below 2^-60 of the result. */
    double f = m - 1, s = f / (2 + f), z = s * s, z2 = z * z, z4 = z2 * z2;
    double a = (2.0 / 3 + z * (2.0 / 5)) + z2 * (2.0 / 7 + z * (2.0 / 9));
    double b = (2.0 / 11 + z * (2.0 / 13)) + z2 * (2.0 / 15 + z * (2.0 / 17));
    double c = 2.0 / 19 + z * (2.0 / 21);
    double series = z * (a + z4 * (b + z4 * c));
    double half_square = 0.5 * f * f;
    return k * ln2_high - ((half_square - (s * (half_square + series) + k * ln2_low)) - f);
}

LS_DUAL double ls_tanh(double x) {
    double magnitude = fabs(x);
    if (!(magnitude < 22)) return x != x ? x + x : with_sign_of(1, x); /* 1 - tanh(22) < 2^-62 */
    if (magnitude < 0x1p-28) return x;                                 /* x^3/3 is below half a place of x */
    /* tanh = t / (t + 2) with t = e^2x - 1. Numerator and denominator are kept as a rounded part and what the
     * rounding lost, which then corrects the quotient: two plain roundings alone could reach 2 places. */
    reduced r = reduce_ln2(2 * magnitude);
    double scale = power_of_two(r.k);
    double big = scale * r.high, offset = scale - 1;
    double rest = scale * (r.low + r.high * r.high * exp_tail(r.high));
    double sum = offset + big;
    double lost = big - (sum - offset); /* exact: offset is 0 or at least |big| (Dekker's fast two-sum) */
    double rest_lost = lost + rest;
    double top = sum + rest_lost, top_low = rest_lost - (top - sum);
    double bottom = top + 2, part = bottom - top; /* the two-sum that does not ask which is larger (Knuth) */
    double bottom_low = ((top - (bottom - part)) + (2 - part)) + top_low;
    double quotient = top / bottom;
    return with_sign_of(quotient + (top_low - quotient * bottom_low) / bottom, x);
}

/* erf(c) and its derivative 2/sqrt(pi) e^(-c^2) at c = 0, 1/8, .. 6. */
LS_DUAL_TABLE double erf_at[][2] = {
    {0, 0x1.20dd750429b6dp+0},
    {0x1.1f5e1a35c3b89p-3, 0x1.1c62fa1e869b6p+0},
    {0x1.1af54e232d609p-2, 0x1.0f5d1602f7e41p+0},
    {0x1.9dd0d2b721f39p-2, 0x1.f5f0cdaf15313p-1},
    {0x1.0a7ef5c18edd2p-1, 0x1.c1efca49a5011p-1},
    {0x1.3f196dcd0f135p-1, 0x1.86e9694134b9ep-1},
    {0x1.6c1c9759d0e5fp-1, 0x1.492e42d78d2c5p-1},
    {0x1.91724951b8fc6p-1, 0x1.0cab61f084b93p-1},
    {0x1.af767a741088bp-1, 0x1.a911f096fbc26p-2},
    {0x1.c6dad2829ec62p-1, 0x1.45e99bcbb7915p-2},
    {0x1.d8865d98abe01p-1, 0x1.e4652fadcb6b2p-3},
    {0x1.e5768c3b4a3fcp-1, 0x1.5ce595c455b0ap-3},
    {0x1.eea5557137ae0p-1, 0x1.e723726b824a9p-4},
    {0x1.f4f693b67bd77p-1, 0x1.499d478bca735p-4},
    {0x1.f92d077f8d56dp-1, 0x1.b055303221015p-5},
    {0x1.fbe61eef4cf6ap-1, 0x1.12ceb37ff9bc3p-5},
    {0x1.fd9ae142795e3p-1, 0x1.529b9e8cf9a1ep-6},
    {0x1.fea4218d6594ap-1, 0x1.94624e78e0fafp-7},
    {0x1.ff404760319b4p-1, 0x1.d4143a9dfe965p-8},
    {0x1.ff9960f3eb327p-1, 0x1.06918b6355624p-8},
    {0x1.ffcaa8f4c9beap-1, 0x1.1d83170fbf6fbp-9},
    {0x1.ffe514bbdc197p-1, 0x1.2ce898809244ep-10},
    {0x1.fff2cfb0453d9p-1, 0x1.3360ccd23db3ap-11},
    {0x1.fff9ba420e834p-1, 0x1.30538fbb77ecdp-12},
    {0x1.fffd1ac4135f9p-1, 0x1.2408e9ba3327fp-13},
    {0x1.fffeb3ebb267bp-1, 0x1.0f9e1b4dd36dfp-14},
    {0x1.ffff6f9f67e55p-1, 0x1.e9b5e8d00ce77p-16},
    {0x1.ffffc316d9ed0p-1, 0x1.abe09e9144b5ep-17},
    {0x1.ffffe710d565ep-1, 0x1.6a597219a93dap-18},
    {0x1.fffff618c3da6p-1, 0x1.296a70f414053p-19},
    {0x1.fffffc2f171e3p-1, 0x1.d9371e2ff7c35p-21},
    {0x1.fffffe92ced93p-1, 0x1.6ce1aa3fd7bddp-22},
    {0x1.ffffff7b91176p-1, 0x1.10b1488aeb235p-23},
    {0x1.ffffffd169d0cp-1, 0x1.8b0cfce0579e0p-25},
    {0x1.fffffff01a8b6p-1, 0x1.155a09065d4f7p-26},
    {0x1.fffffffabd229p-1, 0x1.7974e743dea3dp-28},
    {0x1.fffffffe4fa30p-1, 0x1.f1e3523b41d7dp-30},
    {0x1.ffffffff79626p-1, 0x1.3e44e45301b92p-31},
    {0x1.ffffffffd759dp-1, 0x1.8a61745ec7d1dp-33},
    {0x1.fffffffff4188p-1, 0x1.d9a880f306bd8p-35},
    {0x1.fffffffffc9e8p-1, 0x1.13af4f04f9998p-36},
    {0x1.ffffffffff11ap-1, 0x1.370ab8327af5ep-38},
    {0x1.ffffffffffc05p-1, 0x1.5422ef5d8949dp-40},
    {0x1.ffffffffffef8p-1, 0x1.68823e52970bep-42},
    {0x1.fffffffffffbep-1, 0x1.7258610b3b233p-44},
    {0x1.ffffffffffff0p-1, 0x1.70beaf9c7ffb6p-46},
    {0x1.ffffffffffffcp-1, 0x1.63daf8b4b1e0cp-48},
    {0x1.fffffffffffffp-1, 0x1.4cd9c04158cd7p-50},
    {0x1.0000000000000p+0, 0x1.2dc119095729fp-52},
};

LS_DUAL double ls_erf(double x) {
    enum { TERMS = 11 };
    double magnitude = fabs(x);
    if (!(magnitude < 6)) return x != x ? x + x : with_sign_of(1, x); /* 1 - erf(6) < 2^-55 */
    int k = (int)(magnitude * 8 + 0.5);
    double c = k * 0.125, h = magnitude - c; /* exact, |h| <= 1/16 */
    /* erf(c + h) - erf(c) = 2/sqrt(pi) e^(-c^2) times the integral of e^(-2 c s - s^2) over s from 0 to h.
     * The terms q[n] of that power's series, taken at h, follow from its derivative; those left out are
     * below 2^-60. They are added from the smallest on. */
    double u = -2 * c * h, v = -2 * h * h, q[TERMS + 1] = {1, u}, rest = 0;
    for (int n = 1; n < TERMS; n++) q[n + 1] = (u * q[n] + v * q[n - 1]) * (1.0 / (n + 1));
    for (int n = TERMS; n > 0; n--) rest += q[n] * (1.0 / (n + 1));
    double step = erf_at[k][1] * h;
    return with_sign_of(erf_at[k][0] + (step + step * rest), x);
}

/* x = n pi/2 + high + low with |high| <= pi/4, for |x| <= 1e5. pi/2 is cut into three parts of 33 bits, whose
 * products with n < 2^20 are exact, and a tail: 152 bits, for arguments that nearly are multiples (Cody,
 * Waite). */
LS_DUAL_INLINE int reduce_half_pi(double x, double *high, double *low) {
    double shifted = x * 0x1.45f306dc9c883p-1 + round_shift;
    double n = shifted - round_shift;
    double a = x - n * 0x1.921fb544p+0;
    double term = n * 0x1.0b4611a6p-34;
    double b = a - term, part = b - a;
    double lost = (a - (b - part)) - (term + part);
    term = n * 0x1.3198a2ep-69;
    double c = b - term;
    part = c - b;
    lost += (b - (c - part)) - (term + part);
    lost -= n * 0x1.b839a252049c1p-104;
    *high = c + lost;
    *low = lost - (*high - c);
    return (int)(bits_of(shifted) & 3);
}

/* sin(x + low) for |x| <= pi/4, to x^17. The first two terms are added last, so that their rounding is the
 * only one that counts. */
LS_DUAL_INLINE double sin_kernel(double x, double low) {
    double z = x * x, z2 = z * z;
    double series = ((1.0 / 120 - z * (1.0 / 5040)) + z2 * (1.0 / 362880 - z * (1.0 / 39916800))) +
                    z2 * z2 * ((1.0 / 6227020800 - z * (1.0 / 1307674368000)) + z2 * (1.0 / 355687428096000));
    double cube = z * x;
    return x - ((z * (0.5 * low - cube * series) - low) + cube * (1.0 / 6));
}

/* cos(x + low) for |x| <= pi/4, to x^18. What 1 - x^2/2 loses in rounding is put back. */
LS_DUAL_INLINE double cos_kernel(double x, double low) {
    double z = x * x, z2 = z * z;
    double series = ((1.0 / 24 - z * (1.0 / 720)) + z2 * (1.0 / 40320 - z * (1.0 / 3628800))) +
                    z2 * z2 *
                        ((1.0 / 479001600 - z * (1.0 / 87178291200)) +
                         z2 * (1.0 / 20922789888000 - z * (1.0 / 6402373705728000)));
    double half = 0.5 * z, rest = 1 - half;
    return rest + (((1 - rest) - half) + (z2 * series - x * low));
}

LS_DUAL double ls_sin(double x) {
    if (!(fabs(x) <= 1e5)) return (double)NAN;
    if (fabs(x) < 0x1p-27) return x;
    double high, low;
    switch (reduce_half_pi(x, &high, &low)) {
    case 0: return sin_kernel(high, low);
    case 1: return cos_kernel(high, low);
    case 2: return -sin_kernel(high, low);
    default: return -cos_kernel(high, low);
    }
}

LS_DUAL double ls_cos(double x) {
    if (!(fabs(x) <= 1e5)) return (double)NAN;
    double high, low;
    switch (reduce_half_pi(x, &high, &low)) {
    case 0: return cos_kernel(high, low);
    case 1: return -sin_kernel(high, low);
    case 2: return -cos_kernel(high, low);
    default: return sin_kernel(high, low);
    }
}

LS_DUAL double ls_pow(double x, double y) {
    return y == 0 || x == 1 ? 1 : ls_exp(y * ls_log_e(x));
}

LS_DUAL double ls_pow_int(double x, uint64_t n) {
    double power = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1) power *= x;
    return power;
}

LS_DUAL float ls_expf(float x) {
    if (!(x <= 0x1.62e42ep+6f)) return x > 0 ? (float)INFINITY : x + x; /* above log(FLT_MAX), or NaN */
    if (x < -104) return 0;
    double shifted = (double)x * log2_e + round_shift;
    double k = shifted - round_shift;
    double r = ((double)x - k * ln2_high) - k * ln2_low;
    return (float)((1 + expm1_short(r)) * power_of_two((int)(int32_t)(uint32_t)bits_of(shifted)));
}

LS_DUAL float ls_logf(float x) {
    return (float)ls_log_e((double)x);
}

LS_DUAL float ls_tanhf(float x) {
    double magnitude = fabs((double)x);
    if (!(magnitude < 10)) return x != x ? x + x : (float)with_sign_of(1, (double)x);
    double shifted = 2 * magnitude * log2_e + round_shift;
    double k = shifted - round_shift;
    double r = (2 * magnitude - k * ln2_high) - k * ln2_low;
    double scale = power_of_two((int)(int32_t)(uint32_t)bits_of(shifted));
    double t = scale * expm1_short(r) + (scale - 1);
    return (float)with_sign_of(t / (t + 2), (double)x);
}
