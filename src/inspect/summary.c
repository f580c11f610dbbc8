#include "inspect/summary.h"

#include <math.h>

#include "inspect/saved_model.h"

ls_summary ls_summarise(const ls_record *record) {
    const double none = (double)NAN;
    ls_summary s = {.min = none, .max = none, .mean = none, .std = none, .count = ls_record_count(record)};
    double sum = 0, squares = 0;
    int64_t zeros = 0, finite = 0;
    for (int64_t i = 0; i < s.count; i++) {
        double x = ls_record_value(record, i);
        zeros += x == 0;
        if (!isfinite(x)) continue;
        s.min = finite == 0 || x < s.min ? x : s.min;
        s.max = finite == 0 || x > s.max ? x : s.max;
        sum += x;
        finite++;
    }
    s.not_finite = s.count - finite;
    s.zeros = s.count > 0 ? (double)zeros / (double)s.count : 0;
    if (finite == 0) return s;
    s.mean = sum / (double)finite;
    /* a second pass, since the difference of large sums would leave nothing of a small deviation */
    for (int64_t i = 0; i < s.count; i++) {
        double x = ls_record_value(record, i);
        if (isfinite(x)) squares += (x - s.mean) * (x - s.mean);
    }
    s.std = sqrt(squares / (double)finite);
    return s;
}
