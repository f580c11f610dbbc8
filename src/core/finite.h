/* Are numbers finite? A number is if its exponent is not all ones. This is asked on integers, so that the
 * loops vectorise. */
#ifndef LOCKSTEP_CORE_FINITE_H
#define LOCKSTEP_CORE_FINITE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The bits of the least float and double that are not finite: infinity. */
#define LS_INFINITY_F32 UINT32_C(0x7f800000)
#define LS_INFINITY_F64 UINT64_C(0x7ff0000000000000)

/* Are the magnitudes of n floats all below the one of these bits? */
static inline bool ls_all_below_f32(const float *x, int64_t n, uint32_t magnitude) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & UINT32_C(0x7fffffff)) + (UINT32_C(0x80000000) - magnitude);
    }
    return !(bad >> 31);
}

static inline bool ls_all_finite_f32(const float *x, int64_t n) {
    return ls_all_below_f32(x, n, LS_INFINITY_F32);
}

static inline bool ls_all_finite_f64(const double *x, int64_t n) {
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & UINT64_C(0x7fffffffffffffff)) + (UINT64_C(0x8000000000000000) - LS_INFINITY_F64);
    }
    return !(bad >> 63);
}

#endif
