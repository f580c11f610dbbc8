/* A layer under test: operands of every prologue and epilogue, slow and obvious versions of all of them, and
 * the one check that the kernels of dense and convolution share.
 *
 * What a layer multiplies is a list of terms, y[y] += x'[x] w[w], in an order that is right for y, dx' and dw
 * at once; forward, input gradient and weight gradient are loops over that list. */
#ifndef LOCKSTEP_TESTS_LAYERS_FIXTURE_H
#define LOCKSTEP_TESTS_LAYERS_FIXTURE_H

#include <stddef.h>

#include "core/lane.h"
#include "core/real.h"
#include "core/shards.h"
#include "graph/fusion.h"
#include "layers/elementwise.h"

enum {
    /* prologue */
    NORM = 1 << 0,
    RESIDUAL = 1 << 1,
    RESIDUAL_NORM = 1 << 2, /* with RESIDUAL */
    RELU = 1 << 3,
    TANH = 1 << 4,
    DROPOUT = 1 << 5,
    STORED = 1 << 6,
    LEAKY = 1 << 24,
    SIGMOID = 1 << 25,
    SILU = 1 << 26,
    GELU = 1 << 27,
    /* epilogue */
    BIAS = 1 << 7,
    SUMS = 1 << 8,
    /* gradient prologue */
    DY_NORM = 1 << 9,
    DY_IN_PLACE = 1 << 10, /* with DY_NORM: stored over dz */
    /* gradient epilogue */
    NO_DX = 1 << 11,
    ACCUMULATE = 1 << 12,
    DX_SUMS = 1 << 13,
    DRESIDUAL = 1 << 14, /* with RESIDUAL, as the next two */
    DRESIDUAL_ACCUMULATE = 1 << 15,
    RESIDUAL_SUMS = 1 << 16,
    OTHERS = 1 << 17,       /* other readers of x' have written a gradient */
    OTHERS_AT_DZ = 1 << 18, /* where dz goes; without NO_DX and ACCUMULATE */
    /* operands */
    ZEROS = 1 << 19 /* x is 0 or -0 in some channels, in all rows */
};

typedef struct term {
    int32_t x, w, y;
} term;

typedef struct fixture {
    ls_shards shards;
    int64_t rows, x_pixels, x_width, x_channels, y_pixels, y_width, y_channels, weights;
    unsigned features;
    ls_prologue in;
    ls_epilogue out;
    ls_grad_prologue dy;
    ls_grad_epilogue dx;
    real *weight, *y, *dweight, *dbias;
    int64_t node_stride;
    void *shard_gradients; /* of kernels that take the weight gradient in their backward pass, or NULL */
    int64_t terms;
    term *term;
} fixture;

/* How kernels get at their sums that do not add up the list of terms: of a row, or of so many rows; bound:
 * how far each may be from the sum of its terms. */
typedef struct layer_products {
    void (*forward)(const fixture *f, const real *x, real *y, double *bound);
    void (*backward)(const fixture *f, const real *dy, real *dx, double *bound);
    void (*gradient)(const fixture *f, int64_t rows, const real *x, const real *dy, real *dweight,
                     double *bound);
} layer_products;

/* The layer: its terms, and how to call its kernels with a fixture's operands. */
typedef struct layer_ops {
    size_t (*scratch_bytes)(const fixture *f);
    void (*forward)(const fixture *f, int first, int last, const ls_lane *lane);
    void (*backward)(const fixture *f, int first, int last, const ls_lane *lane);
    int64_t (*parts)(const fixture *f);
    void (*weight_grad)(const fixture *f, int64_t first, int64_t last, const ls_lane *lane);
    /* The backward pass takes the weight gradient of every shard into that many elements; x' and dy need not be
     * stored for it. NULL: it does not. */
    int64_t (*shard_gradient_elements)(const fixture *f);
    bool by_image;                  /* dw: over a row from 0, then over the rows; else in one chain */
    const layer_products *products; /* or NULL: the sums are those of the terms, one after the other */
    struct ls_device *device;       /* of the lane; NULL: the CPU */
} layer_ops;

/* Memory of a fixture or a test; fixture_free() releases all of it. n reals of (-1, 1) from a generator of
 * its own. */
void *fixture_memory(size_t bytes);
real *fixture_reals(int64_t n, uint32_t seed);
void fixture_free(void);

/* Fails unless both are equal to the bit; names the first element that is not. */
void expect_same_reals(const char *what, const real *got, const real *want, int64_t n);
void expect_same_doubles(const char *what, const double *got, const double *want, int64_t n);

/* Operands for a prologue and its way back; sizes and shards of f are set. */
void fixture_fill(fixture *f, unsigned features);

/* Element by element; never look at what was stored. e counts pixels * channels of the row. */
real naive_prologue(const ls_prologue *p, int64_t row, int64_t e);
real naive_back(const ls_prologue *p, int64_t row, int64_t e, real dx);
real naive_grad_prologue(const ls_grad_prologue *p, int64_t row, int64_t e);

/* sums [shards][2][channels] of v and v times factor, [rows][pixels][channels]: over the pixels of a line, the
 * lines of an image, the images of a shard. */
void naive_sums(const ls_shards *shards, int64_t pixels, int64_t width, int64_t channels, const real *v,
                const real *factor, double *sums);

/* Takes dx' of all rows back, as ls_grad_epilogue_rows, into e; sums of all shards from zero. */
void naive_grad_epilogue(const fixture *f, const ls_grad_epilogue *e, const real *dx);

/* Runs all kernels of a layer on f, whose sizes, shards and terms are set, with these features, the shards
 * and parts split into calls in several ways, and compares everything they write to the bit. */
void check_layer(fixture *f, unsigned features, const layer_ops *ops);

/* The combinations of prologue features, with no activation, relu, tanh and leaky_relu: calls f(context,
 * features) for each of the 96. */
void each_prologue(void (*f)(void *context, unsigned features), void *context);
/* The same with every activation: 168. */
void each_prologue_and_activation(void (*f)(void *context, unsigned features), void *context);

#endif
