/* The network of a configuration: a tree of layers, read from lists of lists and reached into by overrides.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_merge.h"

/* --- lists ----------------------------------------------------------------------------------------- */

static void layer_destroy(ls_config_layer *old) {
    ls_section_destroy(&old->own);
    free(old->position);
}

void ls_config_list_destroy(ls_config_list *old) {
    for (int i = 0; i < old->count; i++) layer_destroy(&old->layers[i]);
    free(old->layers);
    *old = (ls_config_list){0};
}

static ls_status grow(ls_config_list *list) {
    if (list->count < list->capacity) return LS_OK;
    int capacity = list->capacity ? 2 * list->capacity : 16;
    ls_config_layer *larger = realloc(list->layers, (size_t)capacity * sizeof *larger);
    if (!larger) return ls_fail(LS_INTERNAL, "out of memory for the layers of a configuration");
    list->layers = larger;
    list->capacity = capacity;
    return LS_OK;
}

/* Puts the layers of `made` where layer i of the list was, which it destroys; `made` is taken over. */
static ls_status replace_layer(ls_config_list *list, int i, ls_config_list *made) {
    ls_config_list all = {.count = list->count - 1 + made->count};
    size_t size = sizeof *all.layers, head = (size_t)i, tail = (size_t)(list->count - 1 - i);
    LS_TRY(ls_calloc(&all.layers, (size_t)all.count, size, "the layers of a configuration"));
    all.capacity = all.count;
    memcpy(all.layers, list->layers, head * size);
    memcpy(all.layers + head, made->layers, (size_t)made->count * size);
    memcpy(all.layers + head + made->count, list->layers + head + 1, tail * size);
    layer_destroy(&list->layers[i]);
    free(list->layers);
    free(made->layers);
    *made = (ls_config_list){0};
    *list = all;
    return LS_OK;
}

/* --- reading --------------------------------------------------------------------------------------- */

typedef struct repetition {
    int64_t times;
} repetition;

static const ls_key repeat_rows[] = {
    {.name = "times",
     .type = LS_KEY_INT,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(repetition, times),
     .min = 1,
     .max = LS_CONFIG_MAX_LAYERS,
     .help = "how often the layers come one after the other"},
    {.name = "layers",
     .type = LS_KEY_LAYERS,
     .effect = LS_KEY_RESULT,
     .min = 1,
     .help = "the layers, each time anew, with parameters of their own"},
};
const ls_key_table ls_config_repeat_keys = {repeat_rows, sizeof repeat_rows / sizeof *repeat_rows};

static ls_status read_list(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                           ls_config_list *list);

/* A layer's name alone, or a map from it to its settings (else NULL). */
static ls_status split_layer(ls_yaml *yaml, const char *what, const yaml_node_t *node,
                             const yaml_node_t **name, const yaml_node_t **settings) {
    char found[64];
    *name = node;
    *settings = NULL;
    if (node->type == YAML_MAPPING_NODE) {
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
        if (node->data.mapping.pairs.top - pair != 1)
            return ls_yaml_fail(yaml, node, "%s: found a map of %d names, expected a layer's name alone",
                                what, (int)(node->data.mapping.pairs.top - pair));
        *name = ls_yaml_node(yaml, pair->key);
        *settings = ls_yaml_node(yaml, pair->value);
    } else if (node->type != YAML_SCALAR_NODE || ls_yaml_is_null(node)) {
        return ls_yaml_fail(yaml, node, "%s: found %s, expected a layer: NAME or {NAME: {..}}", what,
                            ls_yaml_found(node, found, sizeof found));
    }
    return LS_OK;
}

/* The nodes of `times` and `layers`, each given once. */
static ls_status split_repeat(ls_yaml *yaml, const yaml_node_t *at, const yaml_node_t *settings,
                              const yaml_node_t *value[2]) {
    char found[64];
    if (!settings || settings->type != YAML_MAPPING_NODE)
        return ls_yaml_fail(yaml, settings ? settings : at,
                            "repeat: found %s, expected {times: N, layers: [..]}",
                            settings ? ls_yaml_found(settings, found, sizeof found) : "nothing");
    for (const yaml_node_pair_t *pair = settings->data.mapping.pairs.start;
         pair < settings->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = ls_yaml_node(yaml, pair->key);
        const char *name;
        LS_TRY(ls_yaml_name(yaml, key_node, "repeat", &name));
        const ls_key *key = ls_key_find(&ls_config_repeat_keys, name);
        if (!key)
            return ls_yaml_fail(yaml, key_node, "unknown key 'repeat.%.40s'; expected times and layers",
                                name);
        if (value[key - repeat_rows])
            return ls_yaml_fail(yaml, key_node, "repeat.%s: given twice", key->name);
        value[key - repeat_rows] = ls_yaml_node(yaml, pair->value);
    }
    for (int i = 0; i < 2; i++)
        if (!value[i])
            return ls_yaml_fail(yaml, settings, "repeat.%s: not given (%s)", repeat_rows[i].name,
                                repeat_rows[i].help);
    return LS_OK;
}

/* The layers `times` times, as if they had been written out; each copy has the position of the one original.
 */
static ls_status read_repeat(ls_config *config, ls_yaml *yaml, const yaml_node_t *at,
                             const yaml_node_t *settings, ls_config_list *list) {
    const yaml_node_t *value[2] = {NULL, NULL};
    repetition repeat = {0};
    char *text = NULL;
    LS_TRY(split_repeat(yaml, at, settings, value));
    LS_TRY(ls_yaml_value(yaml, value[0], &repeat_rows[0], "repeat.", &text));
    ls_status status = ls_key_set(&repeat_rows[0], &repeat, text);
    free(text);
    for (int64_t i = 0, before = list->count; i < repeat.times && status == LS_OK; i++) {
        status = read_list(config, yaml, "repeat.layers", value[1], list);
        if (status == LS_OK && list->count == before)
            status = ls_yaml_fail(yaml, value[1], "repeat.layers: found no layers, expected at least 1");
    }
    return status;
}

/* `made` is zeroed; the caller destroys it on failure. */
static ls_status read_settings(ls_config *config, ls_yaml *yaml, const yaml_node_t *node,
                               const yaml_node_t *name_node, const char *name, const yaml_node_t *settings,
                               ls_config_layer *made) {
    char prefix[64], position[LS_POSITION_MAX];
    LS_TRY(ls_config_find_type(config, yaml, name_node, name, &made->type));
    LS_TRY(ls_section_create(&made->own, &config->types[made->type].keys));
    ls_yaml_position(yaml, node, position);
    LS_TRY(ls_strdup(&made->position, position));
    snprintf(prefix, sizeof prefix, "%.60s.", config->types[made->type].name);
    return settings ? ls_section_set_all(config, &made->own, yaml, prefix, settings) : LS_OK;
}

/* Appends one layer, or what a repeat stands for. */
static ls_status read_layer(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                            ls_config_list *list) {
    const yaml_node_t *name_node, *settings;
    const char *name;
    LS_TRY(split_layer(yaml, what, node, &name_node, &settings));
    LS_TRY(ls_yaml_name(yaml, name_node, what, &name));
    if (strcmp(name, "repeat") == 0) return read_repeat(config, yaml, node, settings, list);
    if (++config->layers_read > LS_CONFIG_MAX_LAYERS)
        return ls_yaml_fail(yaml, node, "more than %d layers", LS_CONFIG_MAX_LAYERS);
    LS_TRY(grow(list));
    ls_config_layer *made = &list->layers[list->count++];
    *made = (ls_config_layer){0};
    return read_settings(config, yaml, node, name_node, name, settings, made);
}

/* Appends the layers of a list; what was appended before a failure is the caller's. */
static ls_status read_list(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                           ls_config_list *list) {
    char found[64];
    if (node->type != YAML_SEQUENCE_NODE)
        return ls_yaml_fail(yaml, node, "%s: found %s, expected a list of layers", what,
                            ls_yaml_found(node, found, sizeof found));
    if (config->depth == LS_CONFIG_MAX_NESTING)
        return ls_yaml_fail(yaml, node, "%s: layers nested deeper than %d levels", what,
                            LS_CONFIG_MAX_NESTING);
    config->depth++;
    const yaml_node_item_t *items = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    ls_status status = LS_OK;
    for (; items < end && status == LS_OK; items++)
        status = read_layer(config, yaml, what, ls_yaml_node(yaml, *items), list);
    config->depth--;
    return status;
}

ls_status ls_config_set_list(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                             ls_config_list *list) {
    ls_config_list made = {0};
    ls_status status = read_list(config, yaml, what, node, &made);
    ls_config_list old = status == LS_OK ? *list : made;
    if (status == LS_OK) *list = made;
    ls_config_list_destroy(&old);
    return status;
}

/* --- overrides ------------------------------------------------------------------------------------- */

/* Cuts a path at its first dot; returns what follows, or NULL. */
static char *cut(char *path) {
    char *dot = path ? strchr(path, '.') : NULL;
    if (dot) *dot++ = '\0';
    return dot;
}

static ls_status find_layer(const ls_config_list *list, const ls_yaml *yaml, const yaml_node_t *at,
                            const char *what, const char *index, ls_config_layer **layer) {
    char *end;
    errno = 0;
    long i = strtol(index, &end, 10);
    if (index[0] < '0' || index[0] > '9' || *end != '\0' || errno != 0 || i >= list->count) {
        char excerpt[40];
        ls_key_excerpt(index, excerpt, sizeof excerpt);
        return ls_yaml_fail(yaml, at, "%s: no layer '%s': there are %d, counted from 0", what, excerpt,
                            list->count);
    }
    *layer = &list->layers[i];
    return LS_OK;
}

static ls_status override_whole(ls_config *config, ls_yaml *yaml, const char *what, ls_config_list *list,
                                int i) {
    ls_config_list made = {0};
    config->depth++;
    ls_status status = read_layer(config, yaml, what, ls_yaml_root(yaml), &made);
    if (status == LS_OK) status = replace_layer(list, i, &made);
    ls_config_list_destroy(&made);
    return status;
}

static ls_status override_list(ls_config *config, ls_yaml *yaml, const char *what, ls_config_list *list,
                               char *index) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    ls_config_layer *layer = NULL;
    char *type = cut(index), *key = cut(type), prefix[64];
    int found;
    LS_TRY(find_layer(list, yaml, value, what, index, &layer));
    if (!type) return override_whole(config, yaml, what, list, (int)(layer - list->layers));
    LS_TRY(ls_config_find_type(config, yaml, value, type, &found));
    const char *name = config->types[layer->type].name;
    if (found != layer->type)
        return ls_yaml_fail(yaml, value, "%s: layer %s is a '%s', not a '%s'", what, index, name, type);
    snprintf(prefix, sizeof prefix, "%.60s.", name);
    config->depth++;
    if (!key) return ls_section_set_all(config, &layer->own, yaml, prefix, value);
    /* a path goes on behind a list of layers; elsewhere a dot belongs to the key, which no key has */
    char *rest = cut(key), inner[128];
    const ls_key *row = ls_key_find(layer->own.table, key);
    if (rest && row && row->type == LS_KEY_LAYERS) {
        snprintf(inner, sizeof inner, "%.60s%.60s", prefix, key);
        return override_list(config, yaml, inner, &layer->own.settings[row - layer->own.table->keys].list,
                             rest);
    }
    if (rest) rest[-1] = '.';
    return ls_section_set(config, &layer->own, yaml, prefix, key, value, value);
}

ls_status ls_config_override_network(ls_config *config, ls_yaml *yaml, char *path) {
    return override_list(config, yaml, "network", &config->network, path);
}

/* --- all layers ------------------------------------------------------------------------------------ */

static int count_layers(const ls_config_list *list) {
    int count = list->count;
    for (int i = 0; i < list->count; i++)
        for (int k = 0; k < list->layers[i].own.table->count; k++)
            count += count_layers(&list->layers[i].own.settings[k].list);
    return count;
}

static void flatten(ls_config *config, ls_config_list *list, int parent, int branch) {
    for (int i = 0; i < list->count; i++) {
        ls_config_layer *layer = &list->layers[i];
        int index = config->layer_count++, branches = 0;
        config->flat[index] = layer;
        layer->parent = parent;
        layer->branch = branch;
        layer->place = i;
        for (int k = 0; k < layer->own.table->count; k++)
            if (layer->own.table->keys[k].type == LS_KEY_LAYERS)
                flatten(config, &layer->own.settings[k].list, index, branches++);
    }
}

static ls_status check_required(const ls_config *config, const char *name) {
    const ls_key_table *table = config->run.table;
    for (int i = 0; i < table->count; i++)
        if (!ls_section_text(&config->run, NULL, i) && ls_section_reads(&config->run, NULL, i))
            return ls_fail(LS_USAGE, "%.500s: %s: not given, and there is no default (%s)", name,
                           table->keys[i].name, table->keys[i].help);
    for (int n = 0; n < config->layer_count; n++) {
        const ls_config_layer *layer = config->flat[n];
        table = layer->own.table;
        for (int i = 0; i < table->count; i++)
            if (!ls_section_text(&layer->own, &config->defaults[layer->type], i) &&
                ls_section_reads(&layer->own, &config->defaults[layer->type], i))
                return ls_fail(LS_USAGE, "%s: %s.%s: not given, and there is no default (%s)",
                               layer->position, config->types[layer->type].name, table->keys[i].name,
                               table->keys[i].help);
    }
    return LS_OK;
}

ls_status ls_config_complete(ls_config *config, const char *name) {
    int count = count_layers(&config->network);
    if (count > LS_CONFIG_MAX_LAYERS)
        return ls_fail(LS_USAGE, "%.500s: network: %d layers, expected at most %d", name, count,
                       LS_CONFIG_MAX_LAYERS);
    free(config->flat);
    config->flat = NULL;
    config->layer_count = 0;
    LS_TRY(ls_calloc(&config->flat, (size_t)count, sizeof *config->flat, "the layers of a configuration"));
    flatten(config, &config->network, -1, 0);
    LS_TRY(check_required(config, name));
    return ls_config_check_read(config);
}
