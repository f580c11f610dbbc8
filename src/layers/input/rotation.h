/* Pillow's rotation as a map of coordinates, for the CPU and for kernels of CUDA. */
#ifndef LOCKSTEP_LAYERS_INPUT_ROTATION_H
#define LOCKSTEP_LAYERS_INPUT_ROTATION_H

#include <math.h>

#include "core/dual.h"
#ifndef LS_FOR_CUDA
#include "core/elementary.h"
#endif

/* From the output's pixel centres to the source: (x, y) -> (a x + b y + c, d x + e y + f). */
typedef struct ls_rotation {
    double a, b, c, d, e, f;
} ls_rotation;

/* To 15 decimals, as Pillow rounds the entries of its matrix (so that cos(90 degrees) is 0), and exactly,
 * since sin(45 degrees) is near the middle between two such numbers. The result of fma() is defined to the
 * bit, whether the processor has the instruction or not. */
LS_DUAL_INLINE double ls_rounded(double v) {
    double scaled = v * 1e15, shift = 0x1.8p52;
    double nearest = (scaled + shift) - shift;
    double rest = (scaled - nearest) + fma(v, 1e15, -scaled);
    if (rest > 0.5) nearest += 1;
    if (rest < -0.5) nearest -= 1;
    return nearest / 1e15;
}

/* The same angle, 0 <= degrees < 360. */
LS_DUAL_INLINE double ls_full_turn(double degrees) {
    degrees = fmod(degrees, 360.0); /* exact, on every processor */
    return degrees < 0 ? degrees + 360 : degrees;
}

LS_DUAL_INLINE ls_rotation ls_rotation_of(double degrees, int height, int width) {
    const double angle = -(degrees * (0x1.921fb54442d18p+1 / 180));
    const double middle_x = width / 2.0, middle_y = height / 2.0;
    ls_rotation r;
    r.a = ls_rounded(ls_cos(angle));
    r.b = ls_rounded(ls_sin(angle));
    r.d = ls_rounded(-ls_sin(angle));
    r.e = r.a;
    r.c = (r.a * -middle_x + r.b * -middle_y) + middle_x;
    r.f = (r.d * -middle_x + r.e * -middle_y) + middle_y;
    return r;
}

#endif
