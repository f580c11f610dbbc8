/* What products of the portable tier are made of, four floats at a time.
 *
 * Multiply-adds that round once, where no instruction may be assumed: the bits of fmaf(), which is a call,
 * and on processors without the instruction a slow one.
 *
 * A product of floats is exact in double. So is s + e, the sum of it and a float, with the nearest double s and
 * its error e. Of the two doubles around a sum that is none, the odd one (its last bit is 1) rounds to float
 * as the sum does: it has more than two bits to spare, and is never halfway (Boldo and Melquiond, Emulation
 * of a FMA and correctly rounded sums, 2008). */
#ifndef LOCKSTEP_CORE_FUSED_H
#define LOCKSTEP_CORE_FUSED_H

#include <math.h>
#include <stdint.h>

typedef float ls_four __attribute__((vector_size(16)));

/* The nearest bf16 numbers, ties to even; NaN stays one. */
static inline __attribute__((always_inline)) ls_four ls_bf16_of4(ls_four x) {
    typedef uint32_t bits __attribute__((vector_size(16)));
    const bits b = (bits)x, quiet = b | 0x400000u, rounded = b + 0x7fffu + ((b >> 16) & 1u);
    const bits nan = (bits)(x != x);
    return (ls_four)(((nan & quiet) | (~nan & rounded)) & 0xffff0000u);
}

#ifdef FP_FAST_FMAF

static inline __attribute__((always_inline)) ls_four ls_multiply_add4(ls_four a, ls_four b, ls_four sum) {
    for (int i = 0; i < 4; i++) sum[i] = fmaf(a[i], b[i], sum[i]);
    return sum;
}

#else

typedef double ls_two_doubles __attribute__((vector_size(16)));
typedef int64_t ls_two_words __attribute__((vector_size(16)));

/* a b + c of floats, as the odd double, or the sum itself, where that is one. */
static inline __attribute__((always_inline)) ls_two_doubles ls_odd_sum(ls_two_doubles a, ls_two_doubles b,
                                                                       ls_two_doubles c) {
    const ls_two_doubles product = a * b, s = product + c, part = s - product;
    const ls_two_doubles error = (product - (s - part)) + (c - part);
    /* of the sign by which the sum lies beyond s; NaN, where s is not finite, is neither */
    const ls_two_doubles beyond = error * s;
    const ls_two_words inside = beyond<0, outside = beyond> 0;
    const ls_two_words towards_zero = (ls_two_words)s + inside;
    return (ls_two_doubles)(towards_zero | ((inside | outside) & 1));
}

static inline __attribute__((always_inline)) ls_four ls_multiply_add4(ls_four a, ls_four b, ls_four sum) {
#define FIRST(x)  ((ls_two_doubles){(double)(x)[0], (double)(x)[1]})
#define SECOND(x) ((ls_two_doubles){(double)(x)[2], (double)(x)[3]})
    const ls_two_doubles first = ls_odd_sum(FIRST(a), FIRST(b), FIRST(sum));
    const ls_two_doubles second = ls_odd_sum(SECOND(a), SECOND(b), SECOND(sum));
#undef FIRST
#undef SECOND
    return (ls_four){(float)first[0], (float)first[1], (float)second[0], (float)second[1]};
}

#endif

#endif
