#include <string.h>

#include "graph/replica.h"
#include "layers/residual/residual.h"

#define BN       "batchnorm"
#define PLAIN_BN "{batchnorm: {affine: false, eps: 1.0e-8}}"
#define DROP     "{dropout: {rate: 0.3}}"
#define FC(n)    "{dense: {units: " #n "}}"

/* The shape of the published MLP, small; widths are no multiples of any vector. */
#define MLP(bn, act)                                                                                         \
    "[" bn ", " FC(37) ", " bn ", " act ", " DROP ", " FC(19) ", " bn ", " act ", " DROP ", " FC(5) "]"

#define CONV_OF(n) "{conv2d: {channels: " #n ", pad: 1}}"

/* The blocks of the published ResNet, small: a plain one, and one with a stride and a projection. */
#define BLOCKS(bn, act, few, more)                                                                           \
    "[" CONV_OF(few) ", " bn ", " act ", "                                                                   \
                     "{residual: {body: [" CONV_OF(few) ", " bn ", " act ", " CONV_OF(                       \
                         few) ", " bn "]}}, " act ", "                                                       \
                              "{residual: {body: [{conv2d: {channels: " #more ", pad: 1, stride: 2}}, " bn   \
                              ", " act ", " CONV_OF(more) ", " bn "], shortcut: [{conv2d: {channels: " #more \
                                                          ", kernel: 1, stride: 2}}, " bn "]}}, " act        \
                                                          ", global_average_pool, " FC(4) "]"

/* Activations with several readers, for the wiring of that name. */
#define SHARED(bn, act, n)                                                                                   \
    "[" CONV_OF(n) ", " bn ", " act ", " CONV_OF(n) ", " bn ", " CONV_OF(n) ", " act ", " CONV_OF(           \
        n) ", " bn ", " act                                                                                  \
           ", {average_pool: {kernel: 3, stride: 1, pad: 1}}, " CONV_OF(                                     \
               n) ", " bn ", " act ", " DROP ", " CONV_OF(n) ", " bn ", " act                                \
                                                             ", global_average_pool, " FC(4) "]"

/* Layers [first, last) of a network, one after another. */
static ls_tensor *through(const ls_network *network, int first, int last, ls_graph *graph, ls_tensor *x) {
    for (int i = first; i < last; i++) x = network->layers[i].class->apply(&network->layers[i], graph, x);
    return x;
}

/* He et al., 2016: relu(f(h) + h), the join read by the last layer. */
static ls_tensor *residual(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *h = through(network, 0, 3, graph, x);
    ls_tensor *f = through(network, 3, 5, graph, h);
    return through(network, 5, network->count, graph, ls_add(graph, f, h));
}

/* Two blocks of which the first begins with a bare dense layer: its output is read by a BatchNorm and by the
 * join. */
static ls_tensor *pre_activation(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *h = through(network, 0, 1, graph, x);
    h = ls_add(graph, h, through(network, 1, 4, graph, h));
    h = ls_add(graph, through(network, 4, 8, graph, h), h);
    return through(network, 8, network->count, graph, h);
}

/* A join in front of the only cut. */
static ls_tensor *join_first(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *h = through(network, 0, 1, graph, x);
    return through(network, 2, network->count, graph, ls_add(graph, through(network, 1, 2, graph, h), h));
}

/* An image and the same image flattened both have readers; so has the same tensor twice. */
static ls_tensor *views(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *image = through(network, 0, 2, graph, x);
    ls_tensor *left = through(network, 2, 3, graph, ls_add(graph, image, image)); /* flatten */
    ls_tensor *right = through(network, 2, 3, graph, through(network, 1, 2, graph, image));
    ls_tensor *direct = through(network, 2, 3, graph, image);
    return through(network, 3, network->count, graph, ls_add(graph, ls_add(graph, left, right), direct));
}

/* One tensor with five readers, of which those that wait for a cut are neither the first nor the last. */
static ls_tensor *many_readers(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *h = through(network, 0, 1, graph, x);
    ls_tensor *a = through(network, 2, 3, graph, h), *b = through(network, 5, 6, graph, h);
    ls_tensor *c = through(network, 1, 3, graph, h), *d = through(network, 3, 5, graph, h);
    ls_tensor *sum = ls_add(graph, ls_add(graph, a, ls_add(graph, c, h)), ls_add(graph, b, d));
    return through(network, 6, network->count, graph, sum);
}

/* An activation that three ops read, two of them convolutions; one whose first reader makes a block of one
 * convolution, which reads its gradient where it adds to that of the residual; one that a pooling reads
 * first; and a join that one convolution alone reads, through a dropout. */
static ls_tensor *shared_activations(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    ls_tensor *h = through(network, 0, 3, graph, x);
    ls_tensor *a = through(network, 3, 5, graph, h), *b = through(network, 5, 6, graph, h);
    h = through(network, 6, 7, graph, ls_add(graph, ls_add(graph, a, b), h));
    h = through(network, 9, 10, graph, ls_add(graph, through(network, 7, 9, graph, h), h));
    ls_tensor *pooled = through(network, 10, 11, graph, h);
    return through(network, 13, network->count, graph,
                   ls_add(graph, through(network, 11, 13, graph, h), pooled));
}

const network_case network_cases[] = {
    {"mlp", 5, 7, 5, .layers = MLP(BN, "relu")},
    {"mlp, no affine", 5, 7, 5, .layers = MLP(PLAIN_BN, "relu")},
    {"mlp, tanh", 5, 7, 5, .layers = MLP(BN, "tanh")},
    {"mlp, tanh, no affine", 5, 7, 5, .layers = MLP(PLAIN_BN, "tanh")},
    {"dense", 4, 3, 3, .layers = "[" FC(3) "]"},
    {"dense-dense", 4, 3, 3, .layers = "[" FC(6) ", " FC(3) "]"},
    {"dense-relu-dense", 4, 3, 3, .layers = "[" FC(6) ", relu, " FC(3) "]"},
    {"dense-tanh-dense", 4, 3, 3, .layers = "[" FC(6) ", tanh, " FC(3) "]"},
    {"dense-dropout-dense", 4, 3, 3, .layers = "[" FC(6) ", " DROP ", " FC(3) "]"},
    {"dense-batchnorm-dense", 4, 3, 3, .layers = "[" FC(6) ", " BN ", " FC(3) "]"},
    {"dense-batchnorm-dropout-dense", 4, 3, 3, .layers = "[" FC(6) ", " BN ", " DROP ", " FC(3) "]"},
    {"dense-relu-dropout-dense", 4, 3, 3, .layers = "[" FC(6) ", relu, " DROP ", " FC(3) "]"},
    {"dense-tanh-dropout-dense", 4, 3, 3, .layers = "[" FC(6) ", tanh, " DROP ", " FC(3) "]"},
    {"dense-dropout-relu-dense", 4, 3, 3, .layers = "[" FC(6) ", " DROP ", relu, " FC(3) "]"},
    {"relu before batchnorm", 4, 3, 3,
     .layers = "[" FC(6) ", relu, " BN ", " FC(4) ", tanh, " DROP ", " BN ", " FC(3) "]"},
    {"batchnorm at the end", 4, 3, 3, .layers = "[" FC(6) ", relu, " FC(3) ", " BN "]"},
    {"chain at the end", 4, 3, 3, .layers = "[" FC(6) ", relu, " FC(3) ", " BN ", tanh, " DROP "]"},
    {"batchnorm and dropout at the start", 4, 3, 3, .layers = "[" BN ", relu, " DROP ", " FC(3) "]"},
    {"two batchnorms", 4, 3, 3, .layers = "[" FC(6) ", " BN ", " PLAIN_BN ", relu, " FC(3) "]"},
    {"two of each", 4, 3, 3, .layers = "[" FC(6) ", " BN ", relu, tanh, " DROP ", " DROP ", " FC(3) "]"},
    {"no bias", 4, 3, 3,
     .layers = "[{dense: {units: 6, bias: false}}, " BN ", relu, {dense: {units: 3, bias: false}}]"},
    {"flatten first", 4, 3, 3, .layers = "[flatten, " BN ", " FC(6) ", " BN ", relu, " FC(3) "]"},
    {"chain for branches", 4, 3, 3,
     .layers = "[" FC(6) ", " BN ", relu, " DROP ", " FC(5) ", " BN ", tanh, " FC(3) "]"},
    {"wide", 9, 9, 7,
     .layers = "[" FC(150) ", " BN ", relu, " DROP ", " FC(131) ", " BN ", relu, " FC(7) "]"},
    {"conv", 7, 6, 4,
     .layers = "[{conv2d: {channels: 5, kernel: 3, pad: 1}}, " BN
               ", relu, {conv2d: {channels: 3, kernel: 3, stride: 2}}, " BN ", relu, " DROP ", " FC(4) "]"},
    {"conv, missing links", 7, 6, 4,
     .layers =
         "[" BN
         ", {conv2d: {channels: 5, kernel: 3, bias: false}}, relu, {conv2d: {channels: 6, kernel: 2, pad: "
         "1}}, " DROP ", {conv2d: {channels: 2, kernel: 1}}, " PLAIN_BN ", " FC(4) "]"},
    {"conv, flatten", 6, 5, 4,
     .layers = "[{conv2d: {channels: 3, kernel: 3, pad: 1}}, tanh, {conv2d: {channels: 1, kernel: 2}}, " BN
               ", relu, flatten, " BN ", " FC(4) "]"},
    {"conv, max_pool", 8, 7, 4,
     .layers = "[{conv2d: {channels: 3, pad: 1}}, " BN
               ", relu, {max_pool: {kernel: 2}}, {conv2d: {channels: 2, pad: 1}}, "
               "{max_pool: {kernel: 3, stride: 2, pad: 1, ties: all}}, " BN ", relu, flatten, " DROP
               ", " FC(4) "]"},
    {"conv, average_pool", 7, 9, 4,
     .layers = "[{average_pool: {kernel: 3, stride: 2, pad: 1}}, {conv2d: {channels: 5, kernel: 2}}, "
               "{average_pool: {kernel: 2, stride: 1}}, " PLAIN_BN ", tanh, global_average_pool, " BN
               ", " FC(4) "]"},
    {"conv, instance_norm", 8, 7, 4,
     .layers =
         "[{conv2d: {channels: 19}}, {instance_norm: {eps_added: deviation}}, relu, {max_pool: {kernel: 2}}, "
         "{conv2d: {channels: 3, kernel: 2}}, instance_norm, relu, flatten, " FC(4) "]"},
    {"instance_norm around batchnorm", 6, 5, 4,
     .layers = "[{instance_norm: {affine: false}}, {conv2d: {channels: 3, pad: 1}}, " BN
               ", instance_norm, " PLAIN_BN
               ", tanh, {conv2d: {channels: 2}}, {instance_norm: {affine: false, eps_added: deviation}}, " FC(
                   4) "]"},
    {"sequential", 4, 3, 3,
     .layers = "[" FC(6) ", {sequential: {layers: [" BN ", relu, " FC(5) "]}}, " FC(3) "]"},
    {"residual", 4, 3, 3, .layers = "[" FC(6) ", " BN ", relu, " FC(6) ", " BN ", relu, " DROP ", " FC(3) "]",
     .wire = residual},
    {"residual, no affine", 4, 3, 3,
     .layers = "[" FC(6) ", " PLAIN_BN ", tanh, " FC(6) ", " PLAIN_BN ", relu, " FC(3) "]", .wire = residual},
    {"residual, pre-activation", 4, 3, 3,
     .layers =
         "[" FC(6) ", " BN ", relu, " FC(6) ", " BN ", relu, " DROP ", " FC(6) ", " BN ", relu, " FC(3) "]",
     .wire = pre_activation},
    {"residual, conv", 6, 5, 3,
     .layers = "[{conv2d: {channels: 3, kernel: 3}}, " BN
               ", relu, {conv2d: {channels: 3, kernel: 3, pad: 1}}, " BN ", relu, " FC(3) "]",
     .wire = residual},
    {"residual, join first", 4, 3, 3, .layers = "[" FC(6) ", " FC(6) ", " BN ", relu, " FC(3) "]",
     .wire = join_first},
    {"residual blocks", 8, 7, 4, .layers = BLOCKS(BN, "relu", 3, 5)},
    {"residual blocks, no affine, tanh", 8, 7, 4, .layers = BLOCKS(PLAIN_BN, "tanh", 3, 5)},
    {"residual blocks of vectors", 6, 4, 4, .layers = BLOCKS(PLAIN_BN, "relu", 16, 18)},
    {"shared activations", 5, 4, 4, .layers = SHARED(BN, "relu", 3), .wire = shared_activations},
    {"shared activations, tanh", 6, 5, 4, .layers = SHARED(PLAIN_BN, "tanh", 6), .wire = shared_activations},
    {"shared activations of vectors", 4, 4, 4, .layers = SHARED(PLAIN_BN, "relu", 16),
     .wire = shared_activations},
    {"residual, joins of other kinds", 4, 3, 3,
     .layers = "[" FC(6) ", {residual: {body: [" BN ", relu, " FC(
         6) "]}}, relu, {residual: {body: [" BN "], shortcut: [" PLAIN_BN
            "]}}, tanh, " FC(5) ", {residual: {body: [" FC(
                5) "], shortcut: [" BN "]}}, relu, " DROP
                   ", {residual: {body: [relu], shortcut: [tanh]}}, relu, " FC(3) "]"},
    {"mlp, silu", 5, 7, 5, .layers = MLP(BN, "silu")},
    {"mlp, gelu", 5, 7, 5, .layers = MLP(PLAIN_BN, "gelu")},
    {"residual blocks, leaky_relu", 6, 4, 4, .layers = BLOCKS(BN, "{leaky_relu: {slope: 0.1}}", 16, 18)},
    {"shared activations, gelu", 4, 4, 4, .layers = SHARED(BN, "gelu", 16), .wire = shared_activations},
    {"dense-sigmoid-dropout-dense", 4, 3, 3, .layers = "[" FC(6) ", sigmoid, " DROP ", " FC(3) "]"},
    {"views", 4, 3, 3,
     .layers = "[{conv2d: {channels: 1, kernel: 1}}, tanh, flatten, " BN ", relu, " FC(3) "]", .wire = views},
    {"many readers", 4, 3, 3,
     .layers = "[" FC(6) ", " BN ", relu, " BN ", " FC(6) ", tanh, " BN ", relu, " FC(3) "]",
     .wire = many_readers},
};
const int network_case_count = sizeof network_cases / sizeof *network_cases;

const network_case random_vectors = {"random graph of vectors",
                                     4,
                                     3,
                                     3,
                                     .layers = "[" FC(6) ", " FC(6) ", " FC(6) ", " BN ", " BN ", " PLAIN_BN
                                                                               ", " BN ", relu, tanh, " DROP
                                                                               ", flatten, " FC(3) "]",
                                     .seed = 1};

#define CONV CONV_OF(3)
const network_case random_images = {
    "random graph of images",
    4,
    3,
    3,
    .layers = "[" CONV ", " CONV ", " CONV ", " BN ", " PLAIN_BN ", " BN ", relu, tanh, " DROP
              ", {instance_norm: {eps_added: deviation}}, {instance_norm: {affine: false}}, "
              "{max_pool: {kernel: 3, stride: 1, pad: 1, ties: all}}, {average_pool: {kernel: 3, stride: 1, "
              "pad: 1}}, " FC(3) "]",
    .seed = 1};

const network_case *network_case_named(const char *name) {
    for (int i = 0; i < network_case_count; i++)
        if (strcmp(network_cases[i].name, name) == 0) return &network_cases[i];
    return NULL;
}
