/* The cases of the gradient check: small networks, at least one for each layer class. */
#include "check/gradcheck.h"
#include "layers/residual/residual.h"
#include "model/network.h"

/* Sizes are odd, and batches of 5 in 16 shards and 7 in 4 leave shards empty or uneven. */
#define EMPTY_SHARDS   .shards = 16, .batch = 5
#define RAGGED_SHARDS  .shards = 4, .batch = 7
#define VECTOR(n)      .dims = 1, .shape = {n}
#define IMAGE(h, w, c) .dims = 3, .shape = {h, w, c}
#define SUM            .clip = -1

/* --- graphs with branches; layers are f, g, h, k in the order of the list -------------------------- */

static ls_tensor *layer(const ls_network *network, int index, ls_graph *graph, ls_tensor *x) {
    const ls_layer *at = &network->list.layers[index];
    return at->class->apply(at, graph, x);
}

static ls_tensor *twice(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    return layer(n, 0, graph, ls_add(graph, x, x));
}

static ls_tensor *uneven(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    ls_tensor *deep = layer(n, 2, graph, layer(n, 1, graph, layer(n, 0, graph, x)));
    return ls_add(graph, deep, layer(n, 3, graph, x));
}

static ls_tensor *around_two(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    ls_tensor *y = layer(n, 0, graph, x);
    return ls_add(graph, layer(n, 2, graph, layer(n, 1, graph, y)), y);
}

static ls_tensor *around_last(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    ls_tensor *y = layer(n, 1, graph, layer(n, 0, graph, x));
    return ls_add(graph, y, layer(n, 2, graph, y));
}

static ls_tensor *read_twice(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    ls_tensor *sum = ls_add(graph, layer(n, 0, graph, x), x);
    return ls_add(graph, layer(n, 1, graph, sum), layer(n, 2, graph, sum));
}

static ls_tensor *read_thrice(const ls_network *n, ls_graph *graph, ls_tensor *x) {
    ls_tensor *y = layer(n, 0, graph, x), *left = layer(n, 1, graph, y), *right = layer(n, 2, graph, y);
    return ls_add(graph, ls_add(graph, left, y), right);
}

/* clang-format off */
const ls_gradcheck_case ls_gradcheck_cases[] = {
    {"dense", "[{dense: {units: 7}}]", VECTOR(13), EMPTY_SHARDS, SUM},
    {"dense", "[{dense: {units: 3, bias: false}}]", VECTOR(5), RAGGED_SHARDS, SUM},
    {"dense", "[{dense: {units: 1}}]", VECTOR(1), RAGGED_SHARDS, SUM},
    {"dense", "[{dense: {units: 5}}]", IMAGE(3, 1, 3), RAGGED_SHARDS, SUM},

    {"conv2d", "[{conv2d: {channels: 3, kernel: 3}}]", IMAGE(5, 7, 2), EMPTY_SHARDS, SUM},
    {"conv2d", "[{conv2d: {channels: 5, kernel: 3, pad: 1, bias: false}}]", IMAGE(4, 3, 3), RAGGED_SHARDS, SUM},
    {"conv2d", "[{conv2d: {channels: 2, kernel: 2, stride: 2, pad: 1}}]", IMAGE(5, 6, 3), RAGGED_SHARDS, SUM},
    {"conv2d", "[{conv2d: {channels: 3, kernel: 5, stride: 3, pad: 2}}]", IMAGE(7, 4, 1), EMPTY_SHARDS, SUM},
    {"conv2d", "[{conv2d: {channels: 4, kernel: 1, stride: 2, bias: false}}]", IMAGE(3, 5, 3), RAGGED_SHARDS, SUM},

    {"batchnorm", "[{batchnorm: {eps: 1.0e-5}}]", VECTOR(5), EMPTY_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 1.0e-8}}]", VECTOR(3), RAGGED_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 1.0e-8, affine: false}}]", VECTOR(7), EMPTY_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 0.5, affine: false}}]", VECTOR(3), RAGGED_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 1.0e-5}}]", IMAGE(3, 2, 3), RAGGED_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 1.0e-8, affine: false}}]", IMAGE(2, 3, 5), EMPTY_SHARDS, SUM},
    {"batchnorm", "[{batchnorm: {eps: 1.0e-8}}]", IMAGE(5, 3, 1), EMPTY_SHARDS, SUM},

    {"relu", "[relu]", VECTOR(7), EMPTY_SHARDS, SUM, .gap = 0.1},
    {"relu", "[relu]", IMAGE(3, 1, 5), RAGGED_SHARDS, SUM, .gap = 0.1},
    {"tanh", "[tanh]", VECTOR(7), EMPTY_SHARDS, SUM},
    {"tanh", "[tanh]", IMAGE(1, 3, 3), RAGGED_SHARDS, SUM, .scale = 3},
    {"leaky_relu", "[{leaky_relu: {slope: 0.3}}]", VECTOR(7), EMPTY_SHARDS, SUM, .gap = 0.1},
    {"leaky_relu", "[{leaky_relu: {slope: 0}}]", IMAGE(3, 1, 5), RAGGED_SHARDS, SUM, .gap = 0.1},
    {"sigmoid", "[sigmoid]", VECTOR(7), EMPTY_SHARDS, SUM, .scale = 3},
    {"silu", "[silu]", IMAGE(1, 3, 3), RAGGED_SHARDS, SUM, .scale = 5},
    {"gelu", "[gelu]", VECTOR(7), EMPTY_SHARDS, SUM, .scale = 3},
    {"gelu", "[{gelu: {formula: tanh}}]", IMAGE(1, 3, 3), RAGGED_SHARDS, SUM, .scale = 3},
    {"dropout", "[{dropout: {rate: 0.5}}]", VECTOR(7), EMPTY_SHARDS, SUM},
    {"dropout", "[{dropout: {rate: 0.3}}]", IMAGE(3, 5, 3), RAGGED_SHARDS, SUM},
    {"flatten", "[flatten]", IMAGE(3, 5, 1), EMPTY_SHARDS, SUM},
    {"flatten", "[flatten, {dense: {units: 3}}]", IMAGE(1, 1, 5), RAGGED_SHARDS, SUM},
    {"flatten", "[flatten]", IMAGE(3, 5, 3), EMPTY_SHARDS, SUM},
    {"flatten", "[flatten, {dense: {units: 3}}]", IMAGE(2, 1, 5), RAGGED_SHARDS, SUM},
    {"flatten", "[{conv2d: {channels: 3}}, flatten, {dense: {units: 3}}]", IMAGE(5, 4, 2), EMPTY_SHARDS, SUM},

    {"max_pool", "[{max_pool: {kernel: 2}}]", IMAGE(5, 7, 3), EMPTY_SHARDS, SUM},
    {"max_pool", "[{max_pool: {kernel: 3, stride: 1, pad: 1}}]", IMAGE(3, 5, 1), RAGGED_SHARDS, SUM},
    {"max_pool", "[{max_pool: {kernel: 3, stride: 2, pad: 1, ties: all}}]", IMAGE(5, 4, 2), RAGGED_SHARDS, SUM},
    {"max_pool", "[{max_pool: {kernel: 2, stride: 3, pad: 1}}]", IMAGE(7, 1, 2), EMPTY_SHARDS, SUM},
    {"max_pool", "[{conv2d: {channels: 2}}, {max_pool: {kernel: 2, ties: all}}, flatten]", IMAGE(5, 6, 1), EMPTY_SHARDS, SUM},
    {"average_pool", "[{average_pool: {kernel: 2}}]", IMAGE(5, 7, 3), EMPTY_SHARDS, SUM},
    {"average_pool", "[{average_pool: {kernel: 3, stride: 1, pad: 1}}]", IMAGE(3, 5, 1), RAGGED_SHARDS, SUM},
    {"average_pool", "[{average_pool: {kernel: 4, stride: 3, pad: 2}}]", IMAGE(7, 1, 5), RAGGED_SHARDS, SUM},
    {"global_average_pool", "[global_average_pool]", IMAGE(3, 5, 3), EMPTY_SHARDS, SUM},
    {"global_average_pool", "[{conv2d: {channels: 5}}, global_average_pool, {dense: {units: 3}}]", IMAGE(5, 3, 1), RAGGED_SHARDS, SUM},

    {"instance_norm", "[instance_norm]", IMAGE(3, 5, 3), EMPTY_SHARDS, SUM},
    {"instance_norm", "[{instance_norm: {affine: false}}]", IMAGE(7, 1, 1), RAGGED_SHARDS, SUM},
    {"instance_norm", "[{instance_norm: {eps: 0.5}}]", IMAGE(1, 2, 5), RAGGED_SHARDS, SUM},
    {"instance_norm", "[{instance_norm: {eps_added: deviation}}]", IMAGE(5, 3, 3), RAGGED_SHARDS, SUM},
    {"instance_norm", "[{instance_norm: {eps: 0.5, eps_added: deviation}}]", IMAGE(3, 5, 19), EMPTY_SHARDS, SUM},
    {"instance_norm", "[{instance_norm: {eps: 0.1, eps_added: deviation, affine: false}}]", IMAGE(3, 3, 2), EMPTY_SHARDS, SUM},
    {"instance_norm", "[{conv2d: {channels: 3}}, {instance_norm: {eps_added: deviation}}, tanh, {conv2d: {channels: 1}}]",
     IMAGE(6, 7, 1), RAGGED_SHARDS, SUM},

    {"residual", "[{residual: {body: [{dense: {units: 5}}, batchnorm, tanh, {dense: {units: 7}}]}}]",
     VECTOR(7), EMPTY_SHARDS, SUM},
    {"residual", "[{residual: {body: [{residual: {body: [flatten]}}], shortcut: [tanh]}}]", VECTOR(3), RAGGED_SHARDS, SUM},
    {"residual", "[{residual: {body: [{conv2d: {channels: 3, stride: 2, pad: 1}}, batchnorm, tanh, {conv2d: {channels: 5, "
                 "pad: 1, bias: false}}, batchnorm], shortcut: [{conv2d: {channels: 5, kernel: 1, stride: 2}}, batchnorm]}}]",
     IMAGE(5, 3, 2), RAGGED_SHARDS, SUM},
    {"sequential", "[{sequential: {layers: [{dense: {units: 5}}, {sequential: {layers: [tanh]}}]}}, {dense: {units: 3}}]",
     VECTOR(7), EMPTY_SHARDS, SUM},

    {"add", "[tanh]", VECTOR(7), EMPTY_SHARDS, SUM, .how = "f(x + x)", .wire = twice},
    {"add", "[{dense: {units: 5}}, tanh, {dense: {units: 5}}, {dense: {units: 5}}]", VECTOR(5), RAGGED_SHARDS, SUM,
     .how = "h(g(f(x))) + k(x)", .wire = uneven},
    {"add", "[{conv2d: {channels: 3}}, batchnorm, relu]", IMAGE(4, 5, 1), EMPTY_SHARDS, SUM,
     .how = "y = f(x), h(g(y)) + y", .wire = around_two},
    {"add", "[{dense: {units: 5}}, {batchnorm: {eps: 0.01}}, tanh]", VECTOR(3), RAGGED_SHARDS, SUM,
     .how = "y = g(f(x)), y + h(y)", .wire = around_last},
    {"add", "[batchnorm, relu, {conv2d: {channels: 2, pad: 1}}]", IMAGE(3, 4, 2), EMPTY_SHARDS, SUM,
     .how = "y = g(f(x)), y + h(y)", .wire = around_last},
    {"add", "[{dense: {units: 3}}, {dense: {units: 3}}, tanh]", VECTOR(3), RAGGED_SHARDS, SUM,
     .how = "y = f(x) + x, g(y) + h(y)", .wire = read_twice},
    {"add", "[batchnorm, batchnorm, {dense: {units: 3}}]", VECTOR(3), EMPTY_SHARDS, SUM,
     .how = "y = f(x) + x, g(y) + h(y)", .wire = read_twice},
    {"add", "[flatten, tanh, {dense: {units: 6}}]", IMAGE(3, 2, 1), RAGGED_SHARDS, SUM,
     .how = "y = f(x), g(y) + y + h(y)", .wire = read_thrice},
    {"add", "[flatten, {batchnorm: {eps: 0.01}}, {dense: {units: 12}}]", IMAGE(2, 2, 3), EMPTY_SHARDS, SUM,
     .how = "y = f(x), g(y) + y + h(y)", .wire = read_thrice},

    {"softmax_cross_entropy", "[]", VECTOR(5), EMPTY_SHARDS, .clip = 1e-8},
    {"softmax_cross_entropy", "[]", VECTOR(10), RAGGED_SHARDS, .clip = 1e-8, .damped = true, .scale = 3},
    {"softmax_cross_entropy", "[]", VECTOR(3), RAGGED_SHARDS, .clip = 0.4},
    {"softmax_cross_entropy", "[]", VECTOR(3), RAGGED_SHARDS, .clip = 0.4, .damped = true},
    {"softmax_cross_entropy", "[]", VECTOR(7), EMPTY_SHARDS, .clip = 1e-8, .scale = 30},
    {"softmax_cross_entropy", "[]", VECTOR(7), EMPTY_SHARDS, .clip = 1e-8, .damped = true, .scale = 30},

    {"chain", "[{dense: {units: 7}}, batchnorm, relu, {dropout: {rate: 0.3}}, {dense: {units: 3}}]",
     VECTOR(5), RAGGED_SHARDS, .clip = 1e-8},
    {"chain", "[{dense: {units: 5}}, batchnorm, tanh, {dropout: {rate: 0.5}}, {dense: {units: 3}}]",
     VECTOR(3), EMPTY_SHARDS, .clip = 1e-8},
    {"chain", "[batchnorm, {dense: {units: 3}}, relu, batchnorm, tanh]", IMAGE(3, 3, 1), RAGGED_SHARDS, SUM},
    {"chain", "[{conv2d: {channels: 3}}, batchnorm, relu, {dense: {units: 3}}]",
     IMAGE(5, 4, 1), EMPTY_SHARDS, .clip = 1e-8},
    {"chain", "[{conv2d: {channels: 2, pad: 1}}, batchnorm, relu, {conv2d: {channels: 1}}, tanh, flatten, "
              "{batchnorm: {eps: 0.01}}, {dropout: {rate: 0.3}}, {dense: {units: 3}}]", IMAGE(4, 5, 2), RAGGED_SHARDS, .clip = 1e-8},
    {"chain", "[{dense: {units: 7}}, batchnorm, gelu, {dropout: {rate: 0.3}}, {dense: {units: 5}}, silu, {dense: {units: 3}}]",
     VECTOR(5), RAGGED_SHARDS, .clip = 1e-8},
    {"chain", "[{conv2d: {channels: 3, pad: 1}}, batchnorm, {leaky_relu: {slope: 0.2}}, {dropout: {rate: 0.3}}, {conv2d: {channels: 2}}, "
              "sigmoid, {dense: {units: 3}}]", IMAGE(4, 5, 1), EMPTY_SHARDS, .clip = 1e-8},
    {"chain", "[{conv2d: {channels: 3}}, {instance_norm: {eps_added: deviation}}, {max_pool: {kernel: 2}}, flatten, {dense: {units: 3}}]",
     IMAGE(7, 6, 1), RAGGED_SHARDS, .clip = 1e-8},
    {"chain", "[{conv2d: {channels: 2}}, batchnorm, relu, {average_pool: {kernel: 2}}, {conv2d: {channels: 3, kernel: 1}}, instance_norm, "
              "global_average_pool, {dense: {units: 3}}]", IMAGE(6, 7, 1), EMPTY_SHARDS, .clip = 1e-8},
};
/* clang-format on */
const int ls_gradcheck_case_count = sizeof ls_gradcheck_cases / sizeof *ls_gradcheck_cases;
