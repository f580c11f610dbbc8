#include "bench/spread.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int64_t count, double share) {
    const double at = share * (double)(count - 1);
    const int64_t below = (int64_t)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

ls_spread ls_spread_of(double *values, int64_t count) {
    const double nothing = (double)NAN;
    if (count == 0) return (ls_spread){nothing, nothing, nothing, nothing, nothing};
    qsort(values, (size_t)count, sizeof *values, by_value);
    return (ls_spread){values[0], quantile(values, count, 0.25), quantile(values, count, 0.5),
                       quantile(values, count, 0.75), values[count - 1]};
}

ls_spread ls_spread_scaled(ls_spread s, double factor) {
    return (ls_spread){s.min * factor, s.q1 * factor, s.median * factor, s.q3 * factor, s.max * factor};
}

void ls_spread_write(ls_json *json, const char *key, ls_spread s) {
    ls_json_begin(json, key, '{');
    ls_json_real(json, "min", s.min);
    ls_json_real(json, "q1", s.q1);
    ls_json_real(json, "median", s.median);
    ls_json_real(json, "q3", s.q3);
    ls_json_real(json, "max", s.max);
    ls_json_end(json, '}');
}
