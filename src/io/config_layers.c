/* The network of a configuration: a tree of layers, which overrides reach into, and all of them in a row. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_merge.h"

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
    ls_status status = ls_config_read_layer(config, yaml, what, ls_yaml_root(yaml), &made);
    if (status == LS_OK) status = ls_config_list_replace(list, i, &made);
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
