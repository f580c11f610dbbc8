/* Fits y = sin(3x) on [-1, 1] with a network of two layers, written with tensors alone: the graph of every
 * step is made by running it, and is forgotten after it. Prints the loss; fails if it has not fallen far
 * enough. */
#include <stdio.h>

#include "core/elementary.h"
#include "tensor/tensor.h"

enum { SAMPLES = 64, UNITS = 16, STEPS = 1000, PARAMETERS = 4 };

/* tanh a = 1 - 2 / (e^2a + 1) */
static ls_tensor *tanh_of(ls_graph *g, ls_tensor *a) {
    ls_tensor *one = ls_tensor_full(g, 0, NULL, 1, false);
    ls_tensor *half = ls_tensor_inverse(ls_tensor_add(ls_tensor_exp(ls_tensor_add(a, a)), one));
    return ls_tensor_subtract(one, ls_tensor_add(half, half));
}

int main(void) {
    double x[SAMPLES], y[SAMPLES], loss = 0;
    for (int i = 0; i < SAMPLES; i++) x[i] = 2.0 * i / (SAMPLES - 1) - 1, y[i] = ls_sin(3 * x[i]);

    ls_graph *g;
    if (ls_eager_create(LS_FP32, &g) != LS_OK) return fprintf(stderr, "%s\n", ls_error_message()), 1;
    ls_tensor *in = ls_tensor_create(g, LS_SHAPE(SAMPLES, 1), x, false);
    ls_tensor *target = ls_tensor_create(g, LS_SHAPE(SAMPLES, 1), y, false);
    ls_tensor *p[PARAMETERS] = {ls_tensor_uniform(g, LS_SHAPE(1, UNITS), -3, 3, 1, true),
                                ls_tensor_uniform(g, LS_SHAPE(UNITS), -3, 3, 2, true),
                                ls_tensor_uniform(g, LS_SHAPE(UNITS, 1), -0.5, 0.5, 3, true),
                                ls_tensor_zeros(g, LS_SHAPE(1), true)};
    const int leaves = ls_graph_op_count(g);

    for (int step = 0; step < STEPS && ls_graph_status(g) == LS_OK; step++) {
        ls_tensor *hidden = tanh_of(g, ls_tensor_add(ls_tensor_matmul(in, p[0]), p[1]));
        ls_tensor *out = ls_tensor_add(ls_tensor_matmul(hidden, p[2]), p[3]);
        ls_tensor *mean = ls_tensor_mean(ls_tensor_square(ls_tensor_subtract(out, target)), 0, NULL, false);
        if (ls_backward(mean) != LS_OK) break;
        loss = ls_tensor_item(mean);
        if (step % 100 == 0) printf("step %4d  loss %.6f\n", step, loss);
        for (int k = 0; k < PARAMETERS; k++) { /* plain gradient descent */
            float *value = ls_tensor_data(p[k]), *grad = ls_tensor_grad(p[k]);
            for (int64_t i = 0; i < ls_tensor_elements(p[k]); i++) value[i] -= 0.1f * grad[i];
            ls_tensor_zero_grad(p[k]);
        }
        ls_graph_clear(g, leaves);
    }
    if (ls_graph_status(g) != LS_OK) fprintf(stderr, "%s\n", ls_error_message());
    printf("final loss %.6f\n", loss);
    bool good = ls_graph_status(g) == LS_OK && loss < 1e-3;
    ls_graph_destroy(&g);
    return good ? 0 : 1;
}
