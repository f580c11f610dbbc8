#include "io/config_merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ls_status merge_defaults_of(ls_config *config, ls_yaml *yaml, const char *name,
                                   const yaml_node_t *name_node, const yaml_node_t *settings) {
    int type;
    char prefix[80];
    LS_TRY(ls_config_find_type(config, yaml, name_node, name, &type));
    snprintf(prefix, sizeof prefix, "defaults.%.60s.", config->types[type].name);
    return ls_section_set_all(config, &config->defaults[type], yaml, prefix, settings);
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
    if (strcmp(name, "network") == 0)
        return ls_config_set_list(config, yaml, "network", value_node, &config->network);
    if (strcmp(name, "defaults") == 0) return merge_defaults(config, yaml, value_node);
    if (ls_key_find(config->run.table, name))
        return ls_section_set(config, &config->run, yaml, "", name, key_node, value_node);
    const char *nearest = ls_key_nearest(config->run.table, name);
    nearest = ls_name_nearer(name, nearest, "network");
    nearest = ls_name_nearer(name, nearest, "defaults");
    nearest = ls_name_nearer(name, nearest, "base");
    return ls_config_unknown_key(yaml, key_node, "", name, nearest);
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
    config->layers_read = config->depth = 0;
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

/* defaults.TYPE or defaults.TYPE.KEY */
static ls_status override_defaults(ls_config *config, ls_yaml *yaml, const char *name, const char *key) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    if (!key) return merge_defaults_of(config, yaml, name, value, value);
    int type;
    char prefix[80];
    LS_TRY(ls_config_find_type(config, yaml, value, name, &type));
    snprintf(prefix, sizeof prefix, "defaults.%.60s.", config->types[type].name);
    return ls_section_set(config, &config->defaults[type], yaml, prefix, key, value, value);
}

/* `path` is cut at its dots. */
static ls_status apply_path(ls_config *config, ls_yaml *yaml, char *path) {
    const yaml_node_t *value = ls_yaml_root(yaml);
    bool block =
        (value->type == YAML_MAPPING_NODE && value->data.mapping.style == YAML_BLOCK_MAPPING_STYLE) ||
        (value->type == YAML_SEQUENCE_NODE && value->data.sequence.style == YAML_BLOCK_SEQUENCE_STYLE);
    if (block)
        return ls_yaml_fail(yaml, value, "write a list as [a, b], a map as {a: b}, text with ': ' in quotes");
    char *rest = strchr(path, '.');
    if (rest) *rest++ = '\0';
    if (strcmp(path, "base") == 0) return ls_yaml_fail(yaml, value, "base: only a file may name its base");
    if (!rest) return set_entry(config, yaml, path, value, value);
    if (strcmp(path, "network") == 0) return ls_config_override_network(config, yaml, rest);
    if (strcmp(path, "defaults") != 0)
        return ls_yaml_fail(yaml, value, "only network and defaults have parts: network.1.dense.units=300");
    char *key = strchr(rest, '.');
    if (key) *key++ = '\0';
    return override_defaults(config, yaml, rest, key);
}

/* Is it text that the path sets, so that the value is what stands there, and not YAML? */
static bool sets_text(const ls_config *config, const char *path) {
    char type[64];
    const char *key = strrchr(path, '.'), *from = key;
    const ls_key *found = NULL;
    if (!key) {
        found = ls_key_find(config->run.table, path);
    } else {
        while (from > path && from[-1] != '.') from--;
        snprintf(type, sizeof type, "%.*s", (int)(key - from), from);
        for (int i = 0; i < config->type_count && !found; i++)
            if (strcmp(config->types[i].name, type) == 0)
                found = ls_key_find(&config->types[i].keys, key + 1);
    }
    return found && found->type == LS_KEY_STRING;
}

static ls_status apply_value(ls_config *config, ls_yaml *yaml, char *path, const char *value) {
    char *quoted = NULL;
    /* "lr=" is the empty text too, which YAML would read as a null */
    if (sets_text(config, path) || !*value) LS_TRY(ls_yaml_quote(value, &quoted));
    const char *text = quoted ? quoted : value;
    config->layers_read = config->depth = 0;
    ls_status status = ls_yaml_load(yaml, text, strlen(text));
    if (status == LS_OK) status = apply_path(config, yaml, path);
    ls_yaml_destroy(yaml);
    free(quoted);
    return status;
}

static ls_status apply_override(ls_config *config, const char *override) {
    ls_yaml yaml = {.name = override, .command_line = true, .own = true, .number = ++config->documents};
    const char *equals = strchr(override, '=');
    if (!equals || equals == override) {
        char excerpt[80];
        ls_key_excerpt(override, excerpt, sizeof excerpt);
        return ls_fail(LS_USAGE, "command line: %s: expected KEY=VALUE", excerpt);
    }
    char *path;
    LS_TRY(ls_strdup(&path, override));
    path[equals - override] = '\0';
    ls_status status = apply_value(config, &yaml, path, equals + 1);
    free(path);
    return status;
}

ls_status ls_config_apply_overrides(ls_config *config, const char *const *overrides, int count) {
    config->commands++;
    for (int i = 0; i < count; i++) {
        const size_t length = strcspn(overrides[i], "=");
        for (int j = 0; j < i; j++) {
            if (strncmp(overrides[i], overrides[j], length + 1) != 0) continue;
            char first[80], again[80];
            ls_key_excerpt(overrides[j], first, sizeof first);
            ls_key_excerpt(overrides[i], again, sizeof again);
            return ls_fail(LS_USAGE, "command line: %s: given twice; first as %s", again, first);
        }
        LS_TRY(apply_override(config, overrides[i]));
    }
    return LS_OK;
}
