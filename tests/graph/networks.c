#include <string.h>

#include "graph/replica.h"

#define BN       "batchnorm"
#define PLAIN_BN "{batchnorm: {affine: false, eps: 1.0e-8}}"
#define DROP     "{dropout: {rate: 0.3}}"
#define FC(n)    "{dense: {units: " #n "}}"

/* The shape of the published MLP, small; widths are no multiples of any vector. */
#define MLP(bn, act)                                                                                         \
    "[" bn ", " FC(37) ", " bn ", " act ", " DROP ", " FC(19) ", " bn ", " act ", " DROP ", " FC(5) "]"

const network_case network_cases[] = {
    {"mlp", 5, 7, 5, MLP(BN, "relu")},
    {"mlp, no affine", 5, 7, 5, MLP(PLAIN_BN, "relu")},
    {"mlp, tanh", 5, 7, 5, MLP(BN, "tanh")},
    {"mlp, tanh, no affine", 5, 7, 5, MLP(PLAIN_BN, "tanh")},
    {"dense", 4, 3, 3, "[" FC(3) "]"},
    {"dense-dense", 4, 3, 3, "[" FC(6) ", " FC(3) "]"},
    {"dense-relu-dense", 4, 3, 3, "[" FC(6) ", relu, " FC(3) "]"},
    {"dense-tanh-dense", 4, 3, 3, "[" FC(6) ", tanh, " FC(3) "]"},
    {"dense-dropout-dense", 4, 3, 3, "[" FC(6) ", " DROP ", " FC(3) "]"},
    {"dense-batchnorm-dense", 4, 3, 3, "[" FC(6) ", " BN ", " FC(3) "]"},
    {"dense-batchnorm-dropout-dense", 4, 3, 3, "[" FC(6) ", " BN ", " DROP ", " FC(3) "]"},
    {"dense-relu-dropout-dense", 4, 3, 3, "[" FC(6) ", relu, " DROP ", " FC(3) "]"},
    {"dense-tanh-dropout-dense", 4, 3, 3, "[" FC(6) ", tanh, " DROP ", " FC(3) "]"},
    {"dense-dropout-relu-dense", 4, 3, 3, "[" FC(6) ", " DROP ", relu, " FC(3) "]"},
    {"relu before batchnorm", 4, 3, 3,
     "[" FC(6) ", relu, " BN ", " FC(4) ", tanh, " DROP ", " BN ", " FC(3) "]"},
    {"batchnorm at the end", 4, 3, 3, "[" FC(6) ", relu, " FC(3) ", " BN "]"},
    {"chain at the end", 4, 3, 3, "[" FC(6) ", relu, " FC(3) ", " BN ", tanh, " DROP "]"},
    {"batchnorm and dropout at the start", 4, 3, 3, "[" BN ", relu, " DROP ", " FC(3) "]"},
    {"two batchnorms", 4, 3, 3, "[" FC(6) ", " BN ", " PLAIN_BN ", relu, " FC(3) "]"},
    {"two of each", 4, 3, 3, "[" FC(6) ", " BN ", relu, tanh, " DROP ", " DROP ", " FC(3) "]"},
    {"no bias", 4, 3, 3,
     "[{dense: {units: 6, bias: false}}, " BN ", relu, {dense: {units: 3, bias: false}}]"},
    {"flatten first", 4, 3, 3, "[flatten, " BN ", " FC(6) ", " BN ", relu, " FC(3) "]"},
    {"chain for branches", 4, 3, 3,
     "[" FC(6) ", " BN ", relu, " DROP ", " FC(5) ", " BN ", tanh, " FC(3) "]"},
    {"wide", 9, 9, 7, "[" FC(150) ", " BN ", relu, " DROP ", " FC(131) ", " BN ", relu, " FC(7) "]"},
    {"conv", 7, 6, 4,
     "[{conv2d: {channels: 5, kernel: 3, pad: 1}}, " BN
     ", relu, {conv2d: {channels: 3, kernel: 3, stride: 2}}, " BN ", relu, " DROP ", " FC(4) "]"},
    {"conv, missing links", 7, 6, 4,
     "[" BN ", {conv2d: {channels: 5, kernel: 3, bias: false}}, relu, {conv2d: {channels: 6, kernel: 2, pad: "
     "1}}, " DROP ", {conv2d: {channels: 2, kernel: 1}}, " PLAIN_BN ", " FC(4) "]"},
    {"conv, flatten", 6, 5, 4,
     "[{conv2d: {channels: 3, kernel: 3, pad: 1}}, tanh, {conv2d: {channels: 1, kernel: 2}}, " BN
     ", relu, flatten, " BN ", " FC(4) "]"},
};
const int network_case_count = sizeof network_cases / sizeof *network_cases;

const network_case *network_case_named(const char *name) {
    for (int i = 0; i < network_case_count; i++)
        if (strcmp(network_cases[i].name, name) == 0) return &network_cases[i];
    return NULL;
}
