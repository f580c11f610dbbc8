#include "layers/batchnorm/statistics.h"

#include <string.h>

void ls_statistics_reset(const ls_statistics *s) {
    memset(s->values, 0, (size_t)(1 + 3 * s->channels) * sizeof *s->values);
    if (s->kind == LS_STATISTICS_EXPONENTIAL)
        for (int64_t c = 0; c < s->channels; c++) s->values[1 + s->channels + c] = 1;
}

ls_status ls_statistics_begin(const ls_backend *backend, const ls_statistics *s) {
    const size_t bytes = (size_t)(1 + 3 * s->channels) * sizeof *s->values;
    ls_statistics host = *s;
    ls_status status = ls_backend_open(backend, s->values, bytes, &host.values);
    if (status == LS_OK) ls_statistics_reset(&host);
    ls_status closed = ls_backend_close(backend, s->values, bytes, host.values, status == LS_OK);
    return status != LS_OK ? status : closed;
}

void ls_statistics_update(const ls_statistics *s, const double *sum, const double *sum_of_squares,
                          double elements) {
    double *first = s->values + 1, *second = first + s->channels, *third = second + s->channels;
    if (s->kind == LS_STATISTICS_DATASET) return;
    s->values[0] += 1;
    for (int64_t c = 0; c < s->channels; c++) {
        double mean, variance;
        ls_moments_from_sums(sum[c], sum_of_squares[c], elements, &mean, &variance);
        ls_channel_update(s->kind, s->momentum, mean, variance, elements, &first[c], &second[c], &third[c]);
    }
}

void ls_statistics_collect(const ls_statistics *s, const double *sum, const double *sum_of_squares,
                           double elements) {
    if (s->kind != LS_STATISTICS_DATASET) return;
    s->values[0] += elements;
    for (int64_t c = 0; c < s->channels; c++) {
        s->values[1 + c] += sum[c];
        s->values[1 + s->channels + c] += sum_of_squares[c];
    }
}

void ls_statistics_evaluate(const ls_statistics *s, int64_t c, double *mean, double *variance) {
    const double *first = s->values + 1, *second = first + s->channels, *third = second + s->channels;
    ls_channel_evaluate(s->kind, s->values[0], first[c], second[c], third[c], mean, variance);
}
