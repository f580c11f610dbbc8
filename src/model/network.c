#include "model/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers/batchnorm/statistics.h"

void ls_network_layer_keys(ls_layer_keys *tables) {
    for (int i = 0; i < ls_layer_class_count; i++)
        tables[i] = (ls_layer_keys){ls_layer_classes[i]->name, ls_layer_classes[i]->keys};
}

/* --- the tree -------------------------------------------------------------------------------------- */

ls_status ls_layers_append(ls_layer_list *list, const ls_layer_class *class, ls_layer **layer) {
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 8;
        ls_layer *larger;
        LS_TRY(ls_calloc(&larger, (size_t)capacity, sizeof *larger, "the layers"));
        if (list->count > 0) memcpy(larger, list->layers, (size_t)list->count * sizeof *larger);
        free(list->layers);
        list->layers = larger;
        list->capacity = capacity;
    }
    ls_layer *made = &list->layers[list->count];
    made->class = class;
    LS_TRY(ls_calloc(&made->settings, 1, class->settings_size, "a layer"));
    list->count++;
    *layer = made;
    return LS_OK;
}

static void destroy_layers(ls_layer_list *list) {
    for (int i = 0; i < list->count; i++) {
        ls_layer *layer = &list->layers[i];
        for (int b = 0; b < LS_LAYER_BRANCHES; b++) destroy_layers(&layer->branch[b]);
        ls_keys_free(&layer->class->keys, layer->settings);
        free(layer->settings);
        free(layer->position);
    }
    free(list->layers);
}

void ls_network_destroy(ls_network **out) {
    ls_network *network = *out;
    if (!network) return;
    destroy_layers(&network->list);
    ls_parameters_destroy(&network->parameters);
    free(network);
    *out = NULL;
}

/* The layers of one list of the configuration; *next is the first of them, and at the end the one behind them
 * and all that is in them. */
static ls_status read_layers(const ls_config *config, int parent, int branch, int *next,
                             ls_layer_list *list) {
    while (*next < ls_config_layer_count(config)) {
        ls_layer *layer;
        int index = *next, found, place;
        if (ls_config_layer_parent(config, index, &found, &place) != parent || found != branch) break;
        LS_TRY(ls_layers_append(list, ls_layer_classes[ls_config_layer_type(config, index)], &layer));
        LS_TRY(ls_config_layer_settings(config, index, layer->settings));
        LS_TRY(ls_strdup(&layer->position, ls_config_layer_position(config, index)));
        ++*next;
        for (int b = 0; b < ls_layer_branches(layer->class); b++)
            LS_TRY(read_layers(config, index, b, next, &layer->branch[b]));
    }
    return LS_OK;
}

/* --- declaration ----------------------------------------------------------------------------------- */

/* Far more than can be trained, and so few that no product of shapes overflows, whoever wrote the network. */
enum { MOST_OUTPUTS = 1 << 28, MOST_PARAMETERS = 1 << 30 };
static const int64_t most_activations = INT64_C(1) << 31;

typedef struct declaration {
    ls_parameters *parameters;
    const ls_layer_list *root;
    int64_t activations; /* outputs of all layers so far, of one sample */
} declaration;

/* "FILE:LINE:COLUMN: layer 3.body.0: what is wrong". */
static ls_status refuse(const ls_layer *layer, const char *why) {
    return ls_fail(LS_USAGE, "%s%slayer %s: %s", layer->position ? layer->position : "",
                   layer->position ? ": " : "", layer->name, why);
}

/* The same of a status that says what is wrong already. */
static ls_status explain(const ls_layer *layer, ls_status status) {
    char why[1024];
    if (status != LS_USAGE) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    return refuse(layer, why);
}

static const ls_layer *find_name(const ls_layer_list *list, const char *name, const ls_layer *but) {
    for (int i = 0; i < list->count; i++) {
        const ls_layer *layer = &list->layers[i], *found = NULL;
        if (layer != but && strcmp(layer->name, name) == 0) return layer;
        for (int b = 0; b < LS_LAYER_BRANCHES && !found; b++) found = find_name(&layer->branch[b], name, but);
        if (found) return found;
    }
    return NULL;
}

/* Names become those of data sets in checkpoints, and of modules in PyTorch. */
static bool is_name(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return name[strspn(name, allowed)] == '\0';
}

/* `prefix` is the name of the layer around it with a dot, `list` that of the list with a dot; both may be
 * empty. */
static ls_status name_layer(const declaration *d, ls_layer *layer, const char *prefix, const char *list,
                            int place) {
    const ls_key *key = ls_key_find(&layer->class->keys, "name");
    const char *own = NULL;
    char name[2 * LS_NAME_MAX];
    int length;
    if (key) memcpy(&own, (const char *)layer->settings + key->offset, sizeof own);
    if (own && *own)
        length = snprintf(name, sizeof name, "%s%s", prefix, own);
    else
        length = snprintf(name, sizeof name, "%s%s%d", prefix, list, place);
    snprintf(layer->name, sizeof layer->name, "%.40s%d", prefix, place); /* for the messages below */
    if (length >= LS_NAME_MAX - 16)
        return ls_fail(LS_USAGE, "%s: name %.80s: expected fewer than %d characters",
                       layer->position ? layer->position : layer->name, name, LS_NAME_MAX - 16);
    if (!is_name(name)) return refuse(layer, "its name: expected letters, digits, dots, _ and -");
    layer->name[0] = '\0';
    if (find_name(d->root, name, layer))
        return ls_fail(LS_USAGE, "%s: name %s: another layer has it already",
                       layer->position ? layer->position : "network", name);
    memcpy(layer->name, name, (size_t)length + 1);
    return LS_OK;
}

/* At most MOST_OUTPUTS + 1, whatever the shape. */
static int64_t count_values(int dims, const int64_t *shape) {
    int64_t count = 1;
    for (int i = 0; i < dims; i++) {
        if (shape[i] < 1 || shape[i] > MOST_OUTPUTS / count) return MOST_OUTPUTS + 1;
        count *= shape[i];
    }
    return count;
}

static ls_status check_size(declaration *d, const ls_layer *layer) {
    int64_t outputs = count_values(layer->out_dims, layer->out), elements = d->parameters->elements;
    char shape[64], why[256];
    for (int i = 0; i < d->parameters->statistics_count; i++)
        elements += 3 * d->parameters->statistics[i].channels;
    d->activations += outputs;
    if (outputs <= MOST_OUTPUTS && elements <= MOST_PARAMETERS && d->activations <= most_activations)
        return LS_OK;
    snprintf(why, sizeof why,
             "gives %s, %lld values a sample with all before it, %lld parameters so far; expected at most %d "
             "values, "
             "%lld in all, and %d parameters",
             ls_shape_text(layer->out_dims, layer->out, shape, sizeof shape), (long long)d->activations,
             (long long)elements, MOST_OUTPUTS, (long long)most_activations, MOST_PARAMETERS);
    return refuse(layer, why);
}

static ls_status declare_layers(declaration *d, ls_layer_list *list, const char *prefix,
                                const char *list_name, int dims, const int64_t *shape);

static ls_status declare_branches(declaration *d, ls_layer *layer) {
    char prefix[LS_NAME_MAX + 1], list_name[LS_NAME_MAX] = "";
    int branches = ls_layer_branches(layer->class);
    snprintf(prefix, sizeof prefix, "%s.", layer->name);
    for (int b = 0; b < branches; b++) {
        const ls_key *key = ls_layer_branch_key(layer->class, b);
        if (layer->branch[b].count < key->min) {
            char why[64];
            snprintf(why, sizeof why, "%s.%s: no layers", layer->class->name, key->name);
            return refuse(layer, why);
        }
        if (branches > 1) snprintf(list_name, sizeof list_name, "%.40s.", key->name);
        LS_TRY(declare_layers(d, &layer->branch[b], prefix, list_name, layer->in_dims, layer->in));
    }
    return LS_OK;
}

static ls_status declare_layer(declaration *d, ls_layer *layer) {
    LS_TRY(declare_branches(d, layer));
    LS_TRY(explain(layer, layer->class->declare(layer, d->parameters)));
    return check_size(d, layer);
}

static ls_status declare_layers(declaration *d, ls_layer_list *list, const char *prefix,
                                const char *list_name, int dims, const int64_t *shape) {
    list->out_dims = dims;
    memcpy(list->out, shape, (size_t)dims * sizeof *shape);
    for (int i = 0; i < list->count; i++) {
        ls_layer *layer = &list->layers[i];
        layer->in_dims = list->out_dims;
        memcpy(layer->in, list->out, sizeof layer->in);
        LS_TRY(name_layer(d, layer, prefix, list_name, i));
        LS_TRY(declare_layer(d, layer));
        list->out_dims = layer->out_dims;
        memcpy(list->out, layer->out, sizeof list->out);
    }
    return LS_OK;
}

ls_status ls_network_declare(ls_network *network, int dims, const int64_t *shape, int classes) {
    declaration d = {.parameters = &network->parameters, .root = &network->list};
    ls_layer_list *list = &network->list;
    char text[64], why[160];
    if (list->count == 0) return ls_fail(LS_USAGE, "network: no layers; expected a list of at least one");
    if (count_values(dims, shape) > MOST_OUTPUTS)
        return ls_fail(LS_USAGE, "network: an input of %s; expected at most %d values",
                       ls_shape_text(dims, shape, text, sizeof text), MOST_OUTPUTS);
    network->layers = list->layers;
    network->count = list->count;
    LS_TRY(declare_layers(&d, list, "", "", dims, shape));
    if (classes == 0 || (list->out_dims == 1 && list->out[0] == classes)) return LS_OK;
    snprintf(why, sizeof why, "the last layer gives %s; expected %d, the classes of the data",
             ls_shape_text(list->out_dims, list->out, text, sizeof text), classes);
    return refuse(&list->layers[list->count - 1], why);
}

ls_status ls_network_create_for(const ls_config *config, int dims, const int64_t *shape, int classes,
                                ls_network **out) {
    ls_network *network;
    int next = 0;
    *out = NULL;
    LS_TRY(ls_calloc(&network, 1, sizeof *network, "a network"));
    ls_status status = read_layers(config, -1, 0, &next, &network->list);
    if (status == LS_OK) status = ls_network_declare(network, dims, shape, classes);
    if (status == LS_OK)
        *out = network;
    else
        ls_network_destroy(&network);
    return status;
}

ls_status ls_network_create(const ls_config *config, int height, int width, int classes,
                            ls_network **network) {
    return ls_network_create_for(config, 3, (const int64_t[]){height, width, 1}, classes, network);
}

/* --- use ------------------------------------------------------------------------------------------- */

static ls_status initialise_layers(const ls_layer_list *list, ls_parameters *parameters, uint64_t seed) {
    for (int i = 0; i < list->count; i++) {
        const ls_layer *layer = &list->layers[i];
        for (int b = 0; b < LS_LAYER_BRANCHES; b++)
            LS_TRY(initialise_layers(&layer->branch[b], parameters, seed));
        if (layer->class->initialise) LS_TRY(layer->class->initialise(layer, parameters, seed));
    }
    return LS_OK;
}

bool ls_network_collects(const ls_network *network) {
    for (int i = 0; i < network->parameters.statistics_count; i++)
        if (network->parameters.statistics[i].kind == LS_STATISTICS_DATASET) return true;
    return false;
}

static ls_status check_layers(const ls_layer_list *list, int64_t samples) {
    for (int i = 0; i < list->count; i++) {
        const ls_layer *layer = &list->layers[i];
        for (int b = 0; b < LS_LAYER_BRANCHES; b++) LS_TRY(check_layers(&layer->branch[b], samples));
        if (!layer->class->check_batch) continue;
        LS_TRY(explain(layer, layer->class->check_batch(layer, samples)));
    }
    return LS_OK;
}

ls_status ls_network_check_batch(const ls_network *network, int64_t samples) {
    return check_layers(&network->list, samples);
}

ls_status ls_network_initialise(ls_network *network, uint64_t seed) {
    return initialise_layers(&network->list, &network->parameters, seed);
}

ls_tensor *ls_network_apply(const ls_network *network, ls_graph *graph, ls_tensor *x) {
    return ls_layers_apply(&network->list, graph, x);
}
