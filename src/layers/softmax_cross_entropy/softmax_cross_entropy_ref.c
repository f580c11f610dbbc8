#include "core/elementary.h"
#include "core/real.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

#ifdef LS_F64
#define EXP ls_exp
#else
#define EXP ls_expf
#endif

/* p of one row; returns the position of the first largest element. */
static int64_t softmax(const real *x, int64_t classes, real *p) {
    int64_t largest = 0;
    real sum = 0;
    for (int64_t j = 1; j < classes; j++)
        if (x[j] > x[largest]) largest = j;
    for (int64_t j = 0; j < classes; j++) {
        p[j] = EXP(x[j] - x[largest]);
        sum += p[j];
    }
    for (int64_t j = 0; j < classes; j++) p[j] = p[j] / sum;
    return largest;
}

static void softmax_forward(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                            const ls_lane *lane) {
    (void)lane;
    int64_t classes = args->classes;
    for (int s = first; s < last; s++) {
        double *sums = args->sums + LS_LOSS_SUMS * s;
        sums[LS_LOSS_SUM] = sums[LS_CORRECT_SUM] = 0;
        for (int64_t row = shards->start[s]; row < shards->start[s + 1]; row++) {
            uint8_t label = args->labels[args->sample[row]];
            real *p = (real *)args->probability + row * classes;
            int64_t class = softmax((const real *)args->x + row * classes, classes, p);
            double likelihood = (double)p[label];
            double loss = -ls_log_e(likelihood < args->clip ? args->clip : likelihood);
            ((real *)args->loss)[row] = (real)loss;
            sums[LS_LOSS_SUM] += loss;
            sums[LS_CORRECT_SUM] += class == label;
        }
    }
}

static void softmax_backward(const ls_softmax_args *args, const ls_shards *shards, int first, int last,
                             const ls_lane *lane) {
    (void)lane;
    int64_t classes = args->classes;
    for (int64_t row = shards->start[first]; row < shards->start[last]; row++) {
        uint8_t label = args->labels[args->sample[row]];
        const real *p = (const real *)args->probability + row * classes;
        real *dx = (real *)args->dx + row * classes;
        double likelihood = (double)p[label], factor = args->scale;
        if (args->damped && likelihood < args->clip) factor *= likelihood / (likelihood + args->clip);
        for (int64_t j = 0; j < classes; j++) dx[j] = (real)factor * (p[j] - (real)(j == label));
    }
}

const ls_softmax_kernels LS_NAME(ls_softmax_ref) = {softmax_forward, softmax_backward};
