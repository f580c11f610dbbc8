#include "model/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ls_network_layer_keys(ls_layer_keys *tables) {
    for (int i = 0; i < ls_layer_class_count; i++)
        tables[i] = (ls_layer_keys){ls_layer_classes[i]->name, ls_layer_classes[i]->keys};
}

/* The layer's `name` setting, which every layer has, or its position in the list, as torch.nn.Sequential names it. */
static ls_status name_layer(ls_network *network, int index, const char *position) {
    ls_layer *layer = &network->layers[index];
    const ls_key *key = ls_key_find(&layer->class->keys, "name");
    const char *name = NULL;
    char number[16];
    if (key) memcpy(&name, (const char *)layer->settings + key->offset, sizeof name);
    if (!name || !*name) {
        snprintf(number, sizeof number, "%d", index);
        name = number;
    }
    if (strlen(name) >= sizeof layer->name - 16)
        return ls_fail(LS_USAGE, "%s: name %s: expected fewer than %zu characters", position, name,
                       sizeof layer->name - 16);
    for (int i = 0; i < index; i++)
        if (strcmp(network->layers[i].name, name) == 0)
            return ls_fail(LS_USAGE, "%s: name %s: layer %d has it already", position, name, i);
    memcpy(layer->name, name, strlen(name) + 1);
    return LS_OK;
}

/* Far more than can be trained, and so few that no product of shapes overflows, whoever wrote the configuration. */
enum { MOST_OUTPUTS = 1 << 28, MOST_PARAMETERS = 1 << 30 };

static ls_status check_size(const ls_network *network, const ls_config *config, int index, int dims,
                            const int64_t *shape) {
    int64_t outputs = 1, elements = network->parameters.elements;
    char text[64];
    for (int i = 0; i < dims; i++) outputs = shape[i] <= MOST_OUTPUTS / outputs ? outputs * shape[i] : MOST_OUTPUTS + 1;
    for (int i = 0; i < network->parameters.statistics_count; i++)
        elements += 3 * network->parameters.statistics[i].channels;
    if (outputs <= MOST_OUTPUTS && elements <= MOST_PARAMETERS) return LS_OK;
    return ls_fail(LS_USAGE, "%s: layer %d: %s values, %lld parameters so far; expected at most %d and %d",
                   ls_config_layer_position(config, index), index, ls_shape_text(dims, shape, text, sizeof text),
                   (long long)elements, MOST_OUTPUTS, MOST_PARAMETERS);
}

static ls_status create_layer(ls_network *network, const ls_config *config, int index) {
    ls_layer *layer = &network->layers[index];
    const char *position = ls_config_layer_position(config, index);
    layer->class = ls_layer_classes[ls_config_layer_type(config, index)];
    LS_TRY(ls_calloc(&layer->settings, 1, layer->class->settings_size, "a layer"));
    LS_TRY(ls_config_layer_settings(config, index, layer->settings));
    LS_TRY(name_layer(network, index, position));
    ls_status status = layer->class->declare(layer, &network->parameters);
    if (status == LS_USAGE) {
        char why[1024];
        snprintf(why, sizeof why, "%s", ls_error_message());
        return ls_fail(LS_USAGE, "%s: layer %d: %s", position, index, why);
    }
    return status;
}

static ls_status create_layers(ls_network *network, const ls_config *config, int height, int width, int classes) {
    int64_t shape[LS_MAX_DIMS] = {height, width, 1};
    int dims = 3;
    char text[64];
    for (; network->count < ls_config_layer_count(config); network->count++) {
        ls_layer *layer = &network->layers[network->count];
        layer->in_dims = dims;
        memcpy(layer->in, shape, sizeof shape);
        if (network->count == 0) LS_TRY(check_size(network, config, 0, dims, shape));
        LS_TRY(create_layer(network, config, network->count));
        dims = layer->out_dims;
        memcpy(shape, layer->out, sizeof shape);
        LS_TRY(check_size(network, config, network->count, dims, shape));
    }
    if (network->count == 0) return ls_fail(LS_USAGE, "network: no layers; expected a list of at least one");
    if (dims != 1 || shape[0] != classes)
        return ls_fail(LS_USAGE, "%s: the last layer gives %s; expected %d, the classes of the data",
                       ls_config_layer_position(config, network->count - 1),
                       ls_shape_text(dims, shape, text, sizeof text), classes);
    return LS_OK;
}

ls_status ls_network_create(const ls_config *config, int height, int width, int classes, ls_network **out) {
    ls_network *network;
    *out = NULL;
    LS_TRY(ls_calloc(&network, 1, sizeof *network, "a network"));
    ls_status status = ls_calloc(&network->layers, (size_t)ls_config_layer_count(config) + 1,
                                 sizeof *network->layers, "the layers");
    if (status == LS_OK) status = create_layers(network, config, height, width, classes);
    if (status != LS_OK) {
        ls_network_destroy(&network);
        return status;
    }
    *out = network;
    return LS_OK;
}

void ls_network_destroy(ls_network **out) {
    ls_network *network = *out;
    if (!network) return;
    /* a zeroed layer ends the list, so that one whose creation failed half-way is freed too */
    for (ls_layer *layer = network->layers; layer && layer->settings; layer++) {
        ls_keys_free(&layer->class->keys, layer->settings);
        free(layer->settings);
    }
    free(network->layers);
    ls_parameters_destroy(&network->parameters);
    free(network);
    *out = NULL;
}

ls_status ls_network_initialise(ls_network *network, uint64_t seed) {
    for (int i = 0; i < network->count; i++) {
        const ls_layer *layer = &network->layers[i];
        if (layer->class->initialise) LS_TRY(layer->class->initialise(layer, &network->parameters, seed));
    }
    return LS_OK;
}

ls_tensor *ls_network_apply(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    for (int i = 0; i < network->count; i++) x = network->layers[i].class->apply(&network->layers[i], graph, x);
    return x;
}
