#include "inspect/ulp.h"

#include <math.h>
#include <string.h>

/* The position of a number on the line of all numbers of its width, from the bits of its magnitude and its
 * sign. */
static int64_t order_of(uint64_t magnitude, bool negative) {
    return negative ? -(int64_t)magnitude : (int64_t)magnitude;
}

static uint64_t apart(int64_t a, int64_t b) {
    return a < b ? (uint64_t)b - (uint64_t)a : (uint64_t)a - (uint64_t)b;
}

ls_distance ls_distance_f64(double a, double b) {
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    if (x == y) return (ls_distance){.equal = true, .comparable = true};
    if (isnan(a) || isnan(b)) return (ls_distance){0};
    uint64_t ulp = apart(order_of(x & INT64_MAX, x >> 63), order_of(y & INT64_MAX, y >> 63));
    return (ls_distance){.comparable = true, .ulp = ulp, .absolute = fabs(a - b)};
}

ls_distance ls_distance_f32(float a, float b) {
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    if (x == y) return (ls_distance){.equal = true, .comparable = true};
    if (isnan(a) || isnan(b)) return (ls_distance){0};
    uint64_t ulp = apart(order_of(x & INT32_MAX, x >> 31), order_of(y & INT32_MAX, y >> 31));
    return (ls_distance){.comparable = true, .ulp = ulp, .absolute = fabs((double)a - (double)b)};
}

static ls_distance of_integers(uint64_t apart_by) {
    return (ls_distance){
        .equal = apart_by == 0, .comparable = true, .ulp = apart_by, .absolute = (double)apart_by};
}

ls_distance ls_distance_at(const ls_record *a, const ls_record *b, int64_t i) {
    switch (a->type) {
    case LS_RECORD_F32: return ls_distance_f32(((const float *)a->data)[i], ((const float *)b->data)[i]);
    case LS_RECORD_F64: return ls_distance_f64(((const double *)a->data)[i], ((const double *)b->data)[i]);
    case LS_RECORD_I64:
        return of_integers(apart(((const int64_t *)a->data)[i], ((const int64_t *)b->data)[i]));
    case LS_RECORD_U64: break;
    }
    uint64_t x = ((const uint64_t *)a->data)[i], y = ((const uint64_t *)b->data)[i];
    return of_integers(x > y ? x - y : y - x);
}
