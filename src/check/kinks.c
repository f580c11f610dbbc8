#include "check/kinks.h"

#include <math.h>
#include <string.h>

#include "layers/max_pool/max_pool.h"

static bool activation_near_kink(const ls_op *op, int64_t rows, double margin) {
    const double *x = op->in[0]->value;
    const int64_t count = rows * ls_tensor_pixels(op->out) * ls_tensor_channels(op->out);
    for (int64_t i = 0; i < count; i++)
        if (x[i] != 0 && fabs(x[i]) < margin) return true;
    return false;
}

/* The two largest of a window, whose first line and column may lie outside the image. */
static void find_largest(const ls_pool_args *a, const double *image, int64_t line, int64_t column,
                         int64_t channel, double largest[2]) {
    largest[0] = largest[1] = -HUGE_VAL;
    for (int64_t h = line; h < line + a->window.kernel; h++)
        for (int64_t w = column; w < column + a->window.kernel; w++) {
            if (h < 0 || h >= a->height || w < 0 || w >= a->width) continue;
            const double v = image[(h * a->width + w) * a->channels + channel];
            largest[1] = fmax(largest[1], fmin(v, largest[0]));
            largest[0] = fmax(largest[0], v);
        }
}

static bool max_pool_near_kink(const ls_op *op, int64_t rows, double margin) {
    const ls_pool_args a = ls_pool_arguments(op);
    const int64_t outputs = a.out_height * a.out_width * a.channels;
    for (int64_t i = 0; i < rows * outputs; i++) {
        const double *image = (const double *)a.x + i / outputs * a.height * a.width * a.channels;
        const int64_t pixel = i % outputs / a.channels;
        double largest[2];
        find_largest(&a, image, pixel / a.out_width * a.window.stride - a.window.pad,
                     pixel % a.out_width * a.window.stride - a.window.pad, i % a.channels, largest);
        if (largest[0] - largest[1] < margin) return true;
    }
    return false;
}

bool ls_near_kink(const ls_op *op, int64_t rows, double margin) {
    if (op->act.class && op->act.class->kink_at_0) return activation_near_kink(op, rows, margin);
    return strcmp(op->class->name, "max_pool") == 0 && max_pool_near_kink(op, rows, margin);
}
