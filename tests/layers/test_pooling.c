/* Pooling and flatten on ranks against loops over a padded copy of each image. Inputs are quarters with many
 * ties, so that sums are exact in any order and ties are everywhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "layers/average_pool/average_pool.h"
#include "layers/flatten/flatten.h"
#include "layers/global_average_pool/global_average_pool.h"
#include "layers/max_pool/max_pool.h"
#include "layers/op_case.h"

enum { LEVELS = 3, PADDED = 32 };

typedef struct geometry {
    int64_t height, width, channels, kernel, stride, pad, out_height, out_width;
} geometry;

static const geometry geometries[] = {
    {5, 7, 3, 2, 2, 0, 2, 3}, {3, 5, 1, 3, 1, 1, 3, 5}, {7, 1, 2, 2, 3, 1, 3, 1},  {5, 6, 4, 3, 2, 1, 3, 3},
    {6, 6, 2, 4, 1, 2, 7, 7}, {1, 1, 7, 1, 1, 0, 1, 1}, {4, 9, 65, 2, 5, 0, 1, 2}, {5, 3, 2, 3, 4, 0, 1, 1},
};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };

static double x[OP_ELEMENTS], dy[OP_ELEMENTS];
static op_result want, got;

static void make_inputs(int64_t inputs, int64_t outputs) {
    assert_in_range(inputs, 1, OP_ELEMENTS);
    assert_in_range(outputs, 1, OP_ELEMENTS);
    for (int64_t i = 0; i < inputs; i++) x[i] = op_quarters(1, i, LEVELS);
    for (int64_t i = 0; i < outputs; i++) dy[i] = op_quarters(2, i, 16);
    memset(&want, 0, sizeof want);
}

/* A channel of an image with its padding. */
static void pad_image(const geometry *g, int64_t n, int64_t c, double padding,
                      double padded[PADDED][PADDED]) {
    for (int64_t h = -g->pad; h < g->height + g->pad; h++)
        for (int64_t w = -g->pad; w < g->width + g->pad; w++) {
            bool inside = h >= 0 && h < g->height && w >= 0 && w < g->width;
            padded[h + g->pad][w + g->pad] =
                inside ? x[((n * g->height + h) * g->width + w) * g->channels + c] : padding;
        }
}

static void add_to_dx(const geometry *g, int64_t n, int64_t c, int64_t h, int64_t w, double value) {
    h -= g->pad;
    w -= g->pad;
    if (h < 0 || h >= g->height || w < 0 || w >= g->width) return;
    want.dx[((n * g->height + h) * g->width + w) * g->channels + c] += value;
}

static void max_window(const geometry *g, bool all, int64_t n, int64_t c, int64_t i, int64_t j,
                       double padded[PADDED][PADDED]) {
    int64_t at = ((n * g->out_height + i) * g->out_width + j) * g->channels + c;
    double largest = -HUGE_VAL;
    int given = 0;
    for (int64_t u = 0; u < g->kernel; u++)
        for (int64_t v = 0; v < g->kernel; v++)
            largest = fmax(largest, padded[i * g->stride + u][j * g->stride + v]);
    want.y[at] = largest;
    for (int64_t u = 0; u < g->kernel; u++)
        for (int64_t v = 0; v < g->kernel; v++)
            if (padded[i * g->stride + u][j * g->stride + v] == largest && (all || given++ == 0))
                add_to_dx(g, n, c, i * g->stride + u, j * g->stride + v, dy[at]);
}

static void average_window(const geometry *g, int64_t n, int64_t c, int64_t i, int64_t j,
                           double padded[PADDED][PADDED]) {
    int64_t at = ((n * g->out_height + i) * g->out_width + j) * g->channels + c;
    double sum = 0, count = (double)(g->kernel * g->kernel);
    for (int64_t u = 0; u < g->kernel; u++)
        for (int64_t v = 0; v < g->kernel; v++) {
            sum += padded[i * g->stride + u][j * g->stride + v];
            add_to_dx(g, n, c, i * g->stride + u, j * g->stride + v, dy[at] / count);
        }
    want.y[at] = sum / count;
}

typedef enum pool_kind { MAX_FIRST, MAX_ALL, AVERAGE } pool_kind;

static void naive(const geometry *g, pool_kind kind, int64_t batch) {
    static double padded[PADDED][PADDED];
    for (int64_t n = 0; n < batch; n++)
        for (int64_t c = 0; c < g->channels; c++) {
            pad_image(g, n, c, kind == AVERAGE ? 0 : -HUGE_VAL, padded);
            for (int64_t i = 0; i < g->out_height; i++)
                for (int64_t j = 0; j < g->out_width; j++)
                    if (kind == AVERAGE)
                        average_window(g, n, c, i, j, padded);
                    else
                        max_window(g, kind == MAX_ALL, n, c, i, j, padded);
        }
}

typedef struct pool_case {
    ls_pool_window window;
    bool average;
} pool_case;

static ls_tensor *apply_pool(const void *which, ls_graph *graph, ls_tensor *t) {
    const pool_case *p = which;
    return p->average ? ls_average_pool(graph, t, &p->window) : ls_max_pool(graph, t, &p->window);
}

/* Runs a case in all ways and compares with `want`; u is the error of a rounding, 0 if all is exact. */
static void check_ways(op_case c, int64_t inputs, int64_t outputs, double u) {
    static const int ranks[] = {1, 2, 3, 5, 16};
    static double twice[OP_ELEMENTS], largest[OP_ELEMENTS];
    for (int64_t i = 0; i < OP_ELEMENTS; i++) largest[i] = u * 4;
    for (int64_t i = 0; i < inputs; i++) twice[i] = 2 * want.dx[i];
    for (int way = 0; way < 4; way++) {
        c.dtype = way & 1 ? LS_FP64 : LS_FP32;
        c.twice = way & 2;
        for (int r = 0; r < 5 && ranks[r] <= c.shards; r++) {
            op_run(&c, ranks[r], x, dy, NULL, &got);
            op_expect("y", &c, ranks[r], got.y, want.y, largest, outputs);
            op_expect("dx", &c, ranks[r], got.dx, c.twice ? twice : want.dx, largest, inputs);
        }
    }
}

static void check_pool(const geometry *g, pool_kind kind, int64_t batch, int shards) {
    const pool_case p = {{g->kernel, g->stride, g->pad, kind == MAX_ALL ? LS_TIES_ALL : LS_TIES_FIRST},
                         kind == AVERAGE};
    op_case c = {.dims = 3,
                 .shape = {g->height, g->width, g->channels},
                 .batch = batch,
                 .shards = shards,
                 .apply = apply_pool,
                 .which = &p};
    int64_t inputs = batch * g->height * g->width * g->channels;
    int64_t outputs = batch * g->out_height * g->out_width * g->channels;
    make_inputs(inputs, outputs);
    naive(g, kind, batch);
    /* a ninth is rounded; quarters up to 4 from up to nine windows stay below 32 */
    check_ways(c, inputs, outputs, kind == AVERAGE && g->kernel == 3 ? 32 * 0x1p-24 : 0);
}

static void check_kind(pool_kind kind) {
    static const struct {
        int64_t batch;
        int shards;
    } batches[] = {{1, 1}, {5, 16}, {18, 4}};
    for (int i = 0; i < GEOMETRIES; i++)
        for (int b = 0; b < 3; b++) check_pool(&geometries[i], kind, batches[b].batch, batches[b].shards);
}

static void test_max_first(void **state) {
    (void)state;
    check_kind(MAX_FIRST);
}

static void test_max_all(void **state) {
    (void)state;
    check_kind(MAX_ALL);
}

static void test_average(void **state) {
    (void)state;
    check_kind(AVERAGE);
}

/* 3x3 all equal: the first pixel has all of its windows' gradient, or every pixel that of each window over
 * it. */
static void test_ties_by_hand(void **state) {
    static const double gradient[4] = {1, 2, 4, 8};
    static const double first[9] = {1, 2, 0, 4, 8, 0, 0, 0, 0}, all[9] = {1, 3, 2, 5, 15, 10, 4, 12, 8};
    (void)state;
    for (int ties = 0; ties < 2; ties++) {
        const pool_case p = {{2, 1, 0, ties ? LS_TIES_ALL : LS_TIES_FIRST}, false};
        op_case c = {
            .dims = 3, .shape = {3, 3, 1}, .batch = 1, .shards = 1, .apply = apply_pool, .which = &p};
        for (int i = 0; i < 9; i++) x[i] = -7;
        op_run(&c, 1, x, gradient, NULL, &got);
        op_expect("dx", &c, 1, got.dx, ties ? all : first, NULL, 9);
    }
}

/* -infinity is an ordinary number that padding does not beat, and a NaN shows in every window that holds it.
 */
static void test_extremes(void **state) {
    static const double gradient[4] = {1, 2, 4, 8};
    (void)state;
    const pool_case p = {{2, 2, 1, LS_TIES_FIRST}, false};
    op_case c = {.dims = 3, .shape = {2, 2, 1}, .batch = 1, .shards = 1, .apply = apply_pool, .which = &p};
    const double lowest[4] = {-HUGE_VAL, -HUGE_VAL, -HUGE_VAL, -HUGE_VAL};
    op_run(&c, 1, lowest, gradient, NULL, &got);
    for (int i = 0; i < 4; i++) assert_true(isinf(got.y[i]) && got.y[i] < 0);
    op_expect("dx", &c, 1, got.dx, gradient, NULL, 4);
    const double not_a_number[4] = {1, (double)NAN, 2, 3};
    op_run(&c, 1, not_a_number, gradient, NULL, &got);
    assert_true(got.y[0] == 1 && isnan(got.y[1]) && got.y[2] == 2 && got.y[3] == 3);
}

/* --- global average pooling and flatten ------------------------------------------------------------ */

static ls_tensor *apply_global(const void *which, ls_graph *graph, ls_tensor *t) {
    (void)which;
    return ls_global_average_pool(graph, t);
}

static ls_tensor *apply_flatten(const void *which, ls_graph *graph, ls_tensor *t) {
    (void)which;
    return ls_flatten(graph, t);
}

static const int64_t shapes[][3] = {{2, 4, 3}, {3, 5, 1}, {1, 1, 5}, {7, 7, 66}, {5, 1, 2}};
enum { SHAPES = sizeof shapes / sizeof *shapes, BATCH = 5 };

static void test_global(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const int64_t pixels = shapes[s][0] * shapes[s][1], channels = shapes[s][2];
        op_case c = {.dims = 3, .batch = BATCH, .shards = 16, .apply = apply_global};
        memcpy(c.shape, shapes[s], sizeof shapes[s]);
        make_inputs(BATCH * pixels * channels, BATCH * channels);
        for (int64_t i = 0; i < BATCH * pixels * channels; i++) {
            const int64_t out = i / (pixels * channels) * channels + i % channels;
            want.y[out] += x[i] / (double)pixels;
            want.dx[i] = dy[out] / (double)pixels;
        }
        check_ways(c, BATCH * pixels * channels, BATCH * channels, 0x1p-24);
    }
}

static void test_flatten(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const int64_t pixels = shapes[s][0] * shapes[s][1], channels = shapes[s][2],
                      count = BATCH * pixels * channels;
        op_case c = {.dims = 3, .batch = BATCH, .shards = 16, .apply = apply_flatten};
        memcpy(c.shape, shapes[s], sizeof shapes[s]);
        make_inputs(count, count);
        for (int64_t i = 0; i < count; i++) {
            const int64_t n = i / (pixels * channels), p = i / channels % pixels, k = i % channels;
            const int64_t to = (n * channels + k) * pixels + p;
            want.y[to] = x[i];
            want.dx[i] = dy[to];
        }
        check_ways(c, count, count, 0);
    }
}

/* --- shapes ---------------------------------------------------------------------------------------- */

static void test_shapes(void **state) {
    const int64_t image[3] = {5, 4, 3}, vector[1] = {60};
    const ls_layer_class *pools[] = {&ls_max_pool_layer, &ls_average_pool_layer};
    ls_layer layer;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const ls_layer_class *pool = pools[i];
        assert_int_equal(op_declare(pool, "kernel 2", 3, image, &layer), LS_OK);
        assert_true(layer.out_dims == 3 && layer.out[0] == 2 && layer.out[1] == 2 && layer.out[2] == 3);
        assert_int_equal(op_declare(pool, "kernel 3 stride 1 pad 1", 3, image, &layer), LS_OK);
        assert_true(layer.out[0] == 5 && layer.out[1] == 4);
        op_expect_refusal(pool, "kernel 2", 1, vector, "of 60|expected height x width x channels");
        op_expect_refusal(pool, "kernel 2 stride 0", 3, image, "of 5x4x3|stride 0");
        op_expect_refusal(pool, "kernel 3 pad 2", 3, image, "of 5x4x3|pad 2|kernel of 3");
        op_expect_refusal(pool, "kernel 1 pad 1", 3, image, "of 5x4x3|pad 1");
        op_expect_refusal(pool, "kernel 5", 3, image, "of 5x4x3|kernel of 5|does not fit");
        op_expect_refusal(pool, "kernel 9 pad 2", 3, image, "of 5x4x3|kernel of 9 with pad 2 does not fit");
    }
    op_expect_refusal(&ls_global_average_pool_layer, "", 1, vector,
                      "of 60|expected height x width x channels");
    assert_int_equal(op_declare(&ls_global_average_pool_layer, "", 3, image, &layer), LS_OK);
    assert_true(layer.out_dims == 1 && layer.out[0] == 3);
    assert_int_equal(op_declare(&ls_flatten_layer, "", 3, image, &layer), LS_OK);
    assert_true(layer.out_dims == 1 && layer.out[0] == 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_first),    cmocka_unit_test(test_max_all),
        cmocka_unit_test(test_average),      cmocka_unit_test(test_global),
        cmocka_unit_test(test_ties_by_hand), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_flatten),      cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
