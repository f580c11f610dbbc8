/* exp, log, tanh, erf, sin, cos and pow that give the same bits on every processor. The C library picks its
 * versions by processor (with or without fused multiply-add), and their last bits differ; these use
 * additions, multiplications, divisions and square roots in a fixed order alone, which IEEE 754 defines to
 * the bit. */
#ifndef LOCKSTEP_CORE_ELEMENTARY_H
#define LOCKSTEP_CORE_ELEMENTARY_H

#include <math.h>
#include <stdint.h>

#include "core/dual.h"

/* Errors below 2 units in the last place (tests/core/test_elementary.c). NaN and infinities as in the C
 * library. */
LS_DUAL double ls_exp(double x);
LS_DUAL double ls_log_e(double x); /* natural logarithm; log(0) = -inf, log(x < 0) = NaN */
LS_DUAL double ls_tanh(double x);
LS_DUAL double ls_erf(double x);
LS_DUAL double ls_sin(double x); /* |x| <= 1e5, NaN beyond */
LS_DUAL double ls_cos(double x); /* |x| <= 1e5, NaN beyond */
/* x > 0: exp(y log x), relative error below 1e-13 for |y log x| < 100 */
LS_DUAL double ls_pow(double x, double y);
LS_DUAL double ls_pow_int(double x, uint64_t n); /* by repeated squaring */

/* The same in single precision: evaluated in double and rounded once. */
LS_DUAL float ls_expf(float x);
LS_DUAL float ls_logf(float x);
LS_DUAL float ls_tanhf(float x);

/* For text and files: NaN without its sign, which depends on the operation that it came from and which printf
 * shows. */
static inline double ls_one_nan(double x) {
    return isnan(x) ? (double)NAN : x;
}

#endif
