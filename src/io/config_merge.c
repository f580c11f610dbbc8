#include "io/config_merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ls_status ls_section_create(ls_section *made, const ls_key_table *table) {
    made->table = table;
    return ls_calloc(&made->settings, (size_t)table->count, sizeof *made->settings, "configuration settings");
}

void ls_section_destroy(ls_section *old) {
    for (int i = 0; old->settings && i < old->table->count; i++) {
        free(old->settings[i].text);
        free(old->settings[i].position);
    }
    free(old->settings);
    old->settings = NULL;
}

void ls_layer_settings_destroy(ls_layer_settings *layers, int count) {
    for (int i = 0; i < count; i++) {
        ls_section_destroy(&layers[i].own);
        free(layers[i].position);
    }
    free(layers);
}

/* "; did you mean 'epochs'?", or nothing. */
static const char *suggestion(const char *nearest, char text[80]) {
    text[0] = '\0';
    if (nearest) snprintf(text, 80, "; did you mean '%.50s'?", nearest);
    return text;
}

static ls_status unknown_key(const ls_yaml *yaml, const yaml_node_t *node, const char *prefix,
                             const char *name, const char *nearest) {
    char excerpt[64], hint[80];
    ls_key_excerpt(name, excerpt, sizeof excerpt);
    return ls_yaml_fail(yaml, node, "unknown key '%s%s'%s", prefix, excerpt, suggestion(nearest, hint));
}

/* Sets one key of a section; `key_node` is where its name stands. */
static ls_status set_key(ls_section *to, ls_yaml *yaml, const char *prefix, const char *name,
                         const yaml_node_t *key_node, const yaml_node_t *value_node) {
    const ls_key *key = ls_key_find(to->table, name);
    if (!key) return unknown_key(yaml, key_node, prefix, name, ls_key_nearest(to->table, name));
    ls_setting *kept = &to->settings[key - to->table->keys];
    if (kept->document == yaml->number)
        return ls_yaml_fail(yaml, key_node, "%s%s: given twice; first at %s", prefix, name, kept->position);
    char *text = NULL, *copy = NULL, position[LS_POSITION_MAX];
    LS_TRY(ls_yaml_value(yaml, value_node, key, prefix, &text));
    ls_yaml_position(yaml, value_node, position);
    ls_status status = ls_strdup(&copy, position);
    if (status != LS_OK) {
        free(text);
        return status;
    }
    free(kept->text);
    free(kept->position);
    *kept = (ls_setting){text, copy, yaml->number};
    return LS_OK;
}

/* Sets the keys of a map, or nothing for a null. `prefix` is "dense." or "defaults.dense.". */
static ls_status set_keys(ls_section *to, ls_yaml *yaml, const char *prefix, const yaml_node_t *node) {
    char found[64];
    if (ls_yaml_is_null(node)) return LS_OK;
    if (node->type != YAML_MAPPING_NODE)
        return ls_yaml_fail(yaml, node, "%.*s: found %s, expected a map of settings", (int)strlen(prefix) - 1,
                            prefix, ls_yaml_found(node, found, sizeof found));
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key_node = ls_yaml_node(yaml, pair->key);
        const char *name;
        LS_TRY(ls_yaml_name(yaml, key_node, "setting of a layer", &name));
        LS_TRY(set_key(to, yaml, prefix, name, key_node, ls_yaml_node(yaml, pair->value)));
    }
    return LS_OK;
}

static ls_status find_type(const ls_config *config, const ls_yaml *yaml, const yaml_node_t *node,
                           const char *name, int *type) {
    const char *nearest = NULL;
    for (int i = 0; i < config->type_count; i++) {
        if (strcmp(config->types[i].name, name) == 0) {
            *type = i;
            return LS_OK;
        }
        nearest = ls_name_nearer(name, nearest, config->types[i].name);
    }
    char excerpt[64], hint[80];
    ls_key_excerpt(name, excerpt, sizeof excerpt);
    return ls_yaml_fail(yaml, node, "unknown layer '%s'%s", excerpt, suggestion(nearest, hint));
}

/* A layer: its name, or a map from its name to its settings. `made` is zeroed; the caller destroys it on
 * failure. */
static ls_status read_layer(const ls_config *config, ls_yaml *yaml, const yaml_node_t *node,
                            ls_layer_settings *made) {
    const yaml_node_t *name_node = node, *settings = NULL;
    char found[64], prefix[64], position[LS_POSITION_MAX];
    const char *name;
    if (node->type == YAML_MAPPING_NODE) {
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
        if (node->data.mapping.pairs.top - pair != 1)
            return ls_yaml_fail(yaml, node, "network: found a map of %d names, expected a layer's name alone",
                                (int)(node->data.mapping.pairs.top - pair));
        name_node = ls_yaml_node(yaml, pair->key);
        settings = ls_yaml_node(yaml, pair->value);
    } else if (node->type != YAML_SCALAR_NODE || ls_yaml_is_null(node)) {
        return ls_yaml_fail(yaml, node, "network: found %s, expected a layer: NAME or {NAME: {..}}",
                            ls_yaml_found(node, found, sizeof found));
    }
    LS_TRY(ls_yaml_name(yaml, name_node, "network", &name));
    LS_TRY(find_type(config, yaml, name_node, name, &made->type));
    LS_TRY(ls_section_create(&made->own, &config->types[made->type].keys));
    ls_yaml_position(yaml, node, position);
    LS_TRY(ls_strdup(&made->position, position));
    snprintf(prefix, sizeof prefix, "%.60s.", config->types[made->type].name);
    return settings ? set_keys(&made->own, yaml, prefix, settings) : LS_OK;
}

static ls_status set_network(ls_config *config, ls_yaml *yaml, const yaml_node_t *node) {
    char found[64];
    if (node->type != YAML_SEQUENCE_NODE)
        return ls_yaml_fail(yaml, node, "network: found %s, expected a list of layers",
                            ls_yaml_found(node, found, sizeof found));
    const yaml_node_item_t *items = node->data.sequence.items.start;
    int count = (int)(node->data.sequence.items.top - items);
    ls_layer_settings *layers;
    LS_TRY(ls_calloc(&layers, (size_t)count, sizeof *layers, "the layers of a configuration"));
    for (int i = 0; i < count; i++) {
        ls_status status = read_layer(config, yaml, ls_yaml_node(yaml, items[i]), &layers[i]);
        if (status == LS_OK) continue;
        ls_layer_settings_destroy(layers, count);
        return status;
    }
    ls_layer_settings_destroy(config->layers, config->layer_count);
    config->layers = layers;
    config->layer_count = count;
    return LS_OK;
}

static ls_status merge_defaults_of(ls_config *config, ls_yaml *yaml, const char *name,
                                   const yaml_node_t *name_node, const yaml_node_t *settings) {
    int type;
    char prefix[80];
    LS_TRY(find_type(config, yaml, name_node, name, &type));
    snprintf(prefix, sizeof prefix, "defaults.%.60s.", config->types[type].name);
    return set_keys(&config->defaults[type], yaml, prefix, settings);
}

static ls_status merge_defaults(ls_config *config, ls_yaml *yaml, const yaml_node_t *node) {
    char found[64];
    if (node->type != YAML_MAPPING_NODE)
        return ls_yaml_fail(yaml, node, "defaults: found %s, expected a map of layer names",
                            ls_yaml_found(node, found, sizeof found));
    const yaml_node_pair_t *first = node->data.mapping.pairs.start;
    for (const yaml_node_pair_t *pair = first; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name_node = ls_yaml_node(yaml, pair->key);
        const char *name;
        LS_TRY(ls_yaml_name(yaml, name_node, "defaults", &name));
        LS_TRY(merge_defaults_of(config, yaml, name, name_node, ls_yaml_node(yaml, pair->value)));
        /* There are only as many pairs as layer types before one comes twice. */
        for (const yaml_node_pair_t *before = first; before < pair; before++)
            if (strcmp((const char *)ls_yaml_node(yaml, before->key)->data.scalar.value, name) == 0)
                return ls_yaml_fail(yaml, name_node, "defaults.%s: given twice", name);
    }
    return LS_OK;
}

/* An entry of the top level other than `base`. */
static ls_status set_entry(ls_config *config, ls_yaml *yaml, const char *name, const yaml_node_t *key_node,
                           const yaml_node_t *value_node) {
    if (strcmp(name, "network") == 0) return set_network(config, yaml, value_node);
    if (strcmp(name, "defaults") == 0) return merge_defaults(config, yaml, value_node);
    if (ls_key_find(config->run.table, name))
        return set_key(&config->run, yaml, "", name, key_node, value_node);
    const char *nearest = ls_key_nearest(config->run.table, name);
    nearest = ls_name_nearer(name, nearest, "network");
    nearest = ls_name_nearer(name, nearest, "defaults");
    nearest = ls_name_nearer(name, nearest, "base");
    return unknown_key(yaml, key_node, "", name, nearest);
}

/* Checks that the top level is a map of names in which base, network and defaults come once, and finds
 * `base`. */
ls_status ls_config_check_top(ls_yaml *yaml, const yaml_node_t **base) {
    static const char *const own[] = {"base", "network", "defaults"};
    const yaml_node_t *root = ls_yaml_root(yaml);
    bool seen[3] = {false};
    char found[64];
    *base = NULL;
    if (root->type != YAML_MAPPING_NODE)
        return ls_yaml_fail(yaml, root, "found %s, expected a map of settings",
                            ls_yaml_found(root, found, sizeof found));
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key_node = ls_yaml_node(yaml, pair->key);
        const char *name;
        LS_TRY(ls_yaml_name(yaml, key_node, "key", &name));
        for (int i = 0; i < 3; i++) {
            if (strcmp(name, own[i]) != 0) continue;
            if (seen[i]) return ls_yaml_fail(yaml, key_node, "%s: given twice", name);
            seen[i] = true;
        }
        if (strcmp(name, "base") == 0) *base = ls_yaml_node(yaml, pair->value);
    }
    return LS_OK;
}

ls_status ls_config_apply_document(ls_config *config, ls_yaml *yaml) {
    const yaml_node_t *root = ls_yaml_root(yaml);
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key_node = ls_yaml_node(yaml, pair->key);
        const char *name;
        LS_TRY(ls_yaml_name(yaml, key_node, "key", &name));
        if (strcmp(name, "base") != 0)
            LS_TRY(set_entry(config, yaml, name, key_node, ls_yaml_node(yaml, pair->value)));
    }
    return LS_OK;
}

/* The layer that "network.N" names. */
static ls_status find_layer(ls_config *config, const ls_yaml *yaml, const yaml_node_t *at, const char *index,
                            ls_layer_settings **layer) {
    char *end;
    errno = 0;
    long i = strtol(index, &end, 10);
    if (index[0] < '0' || index[0] > '9' || *end != '\0' || errno != 0 || i >= config->layer_count) {
        char excerpt[40];
        ls_key_excerpt(index, excerpt, sizeof excerpt);
        return ls_yaml_fail(yaml, at, "network: no layer '%s': there are %d, counted from 0", excerpt,
                            config->layer_count);
    }
    *layer = &config->layers[i];
    return LS_OK;
}

/* network.INDEX, network.INDEX.TYPE or network.INDEX.TYPE.KEY; type and key NULL where not given. */
static ls_status override_layer(ls_config *config, ls_yaml *yaml, const char *index, const char *type,
                                const char *key) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    ls_layer_settings *layer = NULL;
    LS_TRY(find_layer(config, yaml, value, index, &layer));
    if (!type) {
        ls_layer_settings made = {0};
        ls_status status = read_layer(config, yaml, value, &made);
        ls_layer_settings old = *layer;
        if (status == LS_OK) *layer = made;
        ls_layer_settings *unused = status == LS_OK ? &old : &made;
        ls_section_destroy(&unused->own);
        free(unused->position);
        return status;
    }
    int found;
    char prefix[64];
    LS_TRY(find_type(config, yaml, value, type, &found));
    const char *name = config->types[layer->type].name;
    if (found != layer->type)
        return ls_yaml_fail(yaml, value, "network: layer %s is a '%s', not a '%s'", index, name, type);
    snprintf(prefix, sizeof prefix, "%.60s.", name);
    return key ? set_key(&layer->own, yaml, prefix, key, value, value)
               : set_keys(&layer->own, yaml, prefix, value);
}

/* defaults.TYPE or defaults.TYPE.KEY */
static ls_status override_defaults(ls_config *config, ls_yaml *yaml, const char *name, const char *key) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    if (!key) return merge_defaults_of(config, yaml, name, value, value);
    int type;
    char prefix[80];
    LS_TRY(find_type(config, yaml, value, name, &type));
    snprintf(prefix, sizeof prefix, "defaults.%.60s.", config->types[type].name);
    return set_key(&config->defaults[type], yaml, prefix, key, value, value);
}

/* `path` is cut at its dots. The last part keeps further dots, which no key has. */
static ls_status apply_path(ls_config *config, ls_yaml *yaml, char *path) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    bool block =
        (value->type == YAML_MAPPING_NODE && value->data.mapping.style == YAML_BLOCK_MAPPING_STYLE) ||
        (value->type == YAML_SEQUENCE_NODE && value->data.sequence.style == YAML_BLOCK_SEQUENCE_STYLE);
    if (block)
        return ls_yaml_fail(yaml, value, "write a list as [a, b], a map as {a: b}, text with ': ' in quotes");
    char *part[4] = {path, NULL, NULL, NULL};
    for (int i = 0; i < 3 && part[i]; i++) {
        char *dot = strchr(part[i], '.');
        if (!dot) break;
        *dot = '\0';
        part[i + 1] = dot + 1;
    }
    if (strcmp(part[0], "base") == 0) return ls_yaml_fail(yaml, value, "base: only a file may name its base");
    if (!part[1]) return set_entry(config, yaml, part[0], value, value);
    if (strcmp(part[0], "network") == 0) return override_layer(config, yaml, part[1], part[2], part[3]);
    if (strcmp(part[0], "defaults") != 0)
        return ls_yaml_fail(yaml, value, "only network and defaults have parts: network.1.dense.units=300");
    if (part[3]) part[3][-1] = '.';
    return override_defaults(config, yaml, part[1], part[2]);
}

ls_status ls_config_apply_override(ls_config *config, const char *override) {
    ls_yaml yaml = {.name = override, .command_line = true, .number = ++config->documents};
    const char *equals = strchr(override, '=');
    if (!equals || equals == override) {
        char excerpt[80];
        ls_key_excerpt(override, excerpt, sizeof excerpt);
        return ls_fail(LS_USAGE, "command line: %s: expected KEY=VALUE", excerpt);
    }
    /* "data=" means the empty text, which YAML would read as a null. */
    const char *value = equals[1] ? equals + 1 : "\"\"";
    char *path;
    LS_TRY(ls_strdup(&path, override));
    path[equals - override] = '\0';
    ls_status status = ls_yaml_load(&yaml, value, strlen(value));
    if (status == LS_OK) status = apply_path(config, &yaml, path);
    ls_yaml_destroy(&yaml);
    free(path);
    return status;
}
