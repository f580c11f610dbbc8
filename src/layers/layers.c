#include <stdio.h>
#include <string.h>

#include "layers/average_pool/average_pool.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/conv2d/conv2d.h"
#include "layers/dense/dense.h"
#include "layers/dropout/dropout.h"
#include "layers/flatten/flatten.h"
#include "layers/global_average_pool/global_average_pool.h"
#include "layers/instance_norm/instance_norm.h"
#include "layers/layer.h"
#include "layers/max_pool/max_pool.h"
#include "layers/relu/relu.h"
#include "layers/residual/residual.h"
#include "layers/sequential/sequential.h"
#include "layers/tanh/tanh.h"

const ls_layer_class *const ls_layer_classes[] = {
    &ls_average_pool_layer,
    &ls_batchnorm_layer,
    &ls_conv2d_layer,
    &ls_dense_layer,
    &ls_dropout_layer,
    &ls_flatten_layer,
    &ls_global_average_pool_layer,
    &ls_instance_norm_layer,
    &ls_max_pool_layer,
    &ls_relu_layer,
    &ls_residual_layer,
    &ls_sequential_layer,
    &ls_tanh_layer,
};
const int ls_layer_class_count = sizeof ls_layer_classes / sizeof *ls_layer_classes;

_Static_assert(sizeof ls_layer_classes / sizeof *ls_layer_classes <= LS_LAYER_CLASSES_MAX, "too many layer types");

int ls_layer_branches(const ls_layer_class *class) {
    int count = 0;
    for (int i = 0; i < class->keys.count; i++) count += class->keys.keys[i].type == LS_KEY_LAYERS;
    return count;
}

const ls_key *ls_layer_branch_key(const ls_layer_class *class, int branch) {
    for (int i = 0; i < class->keys.count; i++)
        if (class->keys.keys[i].type == LS_KEY_LAYERS && branch-- == 0) return &class->keys.keys[i];
    return NULL;
}

ls_tensor *ls_layers_apply(const ls_layer_list *list, ls_graph *graph, ls_tensor *x) {
    for (int i = 0; i < list->count; i++) x = list->layers[i].class->apply(&list->layers[i], graph, x);
    return x;
}

void ls_layer_same_shape(ls_layer *layer) {
    layer->out_dims = layer->in_dims;
    memcpy(layer->out, layer->in, sizeof layer->in);
}

