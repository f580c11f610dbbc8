/* An op under test, on ranks that are threads: given numbers in, any gradient at the end, and what comes out
 * as the whole batch in double. */
#ifndef LOCKSTEP_TESTS_LAYERS_OP_CASE_H
#define LOCKSTEP_TESTS_LAYERS_OP_CASE_H

#include "graph/op.h"
#include "layers/layer.h"

enum { OP_ELEMENTS = 1 << 16, OP_PARAMETERS = 64 };

typedef struct op_case {
    int dims;
    int64_t shape[LS_MAX_DIMS]; /* of a sample of x */
    int64_t batch;
    int shards;
    ls_dtype dtype;
    bool twice;         /* the graph is op(x) + op(x), so that the second gradient is added to the first; with
                           parameters on one rank only, since one that is read twice needs all shards there */
    int64_t parameters; /* two vectors of that length, of which the op may leave the second; 0: none */
    ls_tensor *(*apply)(const void *which, ls_graph *graph, ls_tensor *x);
    const void *which;
} op_case;

/* Of the whole batch: [batch][shape of y], [batch][shape of x], [2][parameters]. */
typedef struct op_result {
    double y[OP_ELEMENTS], dx[OP_ELEMENTS], gradient[2 * OP_PARAMETERS];
} op_result;

/* Forward and backward on so many ranks. x, dy as in the result; what fails, fails the test. */
void op_run(const op_case *c, int ranks, const double *x, const double *dy, const double *parameters,
            op_result *out);

/* (-1, 1), exact in fp32; and one of -levels/4 .. levels/4 in steps of a quarter, so that sums of them are
 * exact. */
double op_uniform(uint32_t item, int64_t i);
double op_quarters(uint32_t item, int64_t i, int levels);

/* Fails unless |got - want| <= bound (NULL: 0) everywhere. */
void op_expect(const char *what, const op_case *c, int ranks, const double *got, const double *want,
               const double *bound, int64_t count);

/* declare() of a layer with settings "kernel 3 pad 2" on an input shape; the message is ls_error_message().
 */
ls_status op_declare(const ls_layer_class *class, const char *settings, int dims, const int64_t *shape,
                     ls_layer *layer);

/* Fails unless declare() refuses it and the message holds all of `message`'s parts, divided by '|'. */
void op_expect_refusal(const ls_layer_class *class, const char *settings, int dims, const int64_t *shape,
                       const char *message);

#endif
