/* Sections of settings, and the lists of layers that a setting may hold, whose layers are sections again: made,
 * read from a document, and destroyed. */
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

ls_status ls_config_list_replace(ls_config_list *list, int i, ls_config_list *made) {
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

/* --- sections ------------------------------------------------------------------------------------- */

ls_status ls_section_create(ls_section *made, const ls_key_table *table) {
    made->table = table;
    return ls_calloc(&made->settings, (size_t)table->count, sizeof *made->settings, "configuration settings");
}

void ls_section_destroy(ls_section *old) {
    for (int i = 0; old->settings && i < old->table->count; i++) {
        free(old->settings[i].text);
        free(old->settings[i].position);
        ls_config_list_destroy(&old->settings[i].list);
    }
    free(old->settings);
    old->settings = NULL;
}

/* "; did you mean 'epochs'?", or nothing. */
static const char *suggestion(const char *nearest, char text[80]) {
    text[0] = '\0';
    if (nearest) snprintf(text, 80, "; did you mean '%.50s'?", nearest);
    return text;
}

ls_status ls_config_unknown_key(const ls_yaml *yaml, const yaml_node_t *node, const char *prefix,
                                const char *name, const char *nearest) {
    char excerpt[64], hint[80];
    ls_key_excerpt(name, excerpt, sizeof excerpt);
    return ls_yaml_fail(yaml, node, "unknown key '%s%s'%s", prefix, excerpt, suggestion(nearest, hint));
}

/* The value of a key of any type, as text or as a list of layers. */
static ls_status read_value(ls_config *config, const ls_section *to, ls_yaml *yaml, const char *prefix,
                            const ls_key *key, const yaml_node_t *node, ls_setting *made) {
    char what[128];
    if (key->type != LS_KEY_LAYERS) return ls_yaml_value(yaml, node, key, prefix, &made->text);
    snprintf(what, sizeof what, "%.60s%.60s", prefix, key->name);
    if (to->defaults)
        return ls_yaml_fail(yaml, node, "%s: layers belong into the network, not into defaults", what);
    LS_TRY(ls_config_set_list(config, yaml, what, node, &made->list));
    if (made->list.count < key->min)
        return ls_yaml_fail(yaml, node, "%s: found no layers, expected at least %.0f", what, key->min);
    return ls_strdup(&made->text, "");
}

ls_status ls_section_set(ls_config *config, ls_section *to, ls_yaml *yaml, const char *prefix,
                         const char *name, const yaml_node_t *key_node, const yaml_node_t *value_node) {
    const ls_key *key = ls_key_find(to->table, name);
    if (!key) return ls_config_unknown_key(yaml, key_node, prefix, name, ls_key_nearest(to->table, name));
    ls_setting *kept = &to->settings[key - to->table->keys];
    if (kept->document == yaml->number ||
        (yaml->command_line && kept->command == config->commands && kept->text))
        return ls_yaml_fail(yaml, key_node, "%s%s: given twice; first at %s", prefix, name, kept->position);
    ls_setting made = {
        .document = yaml->number, .command = yaml->command_line ? config->commands : 0, .own = yaml->own};
    char position[LS_POSITION_MAX];
    ls_status status = read_value(config, to, yaml, prefix, key, value_node, &made);
    ls_yaml_position(yaml, value_node, position);
    if (status == LS_OK) status = ls_strdup(&made.position, position);
    ls_setting old = status == LS_OK ? *kept : made;
    if (status == LS_OK) *kept = made;
    free(old.text);
    free(old.position);
    ls_config_list_destroy(&old.list);
    return status;
}

ls_status ls_section_set_all(ls_config *config, ls_section *to, ls_yaml *yaml, const char *prefix,
                             const yaml_node_t *node) {
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
        LS_TRY(ls_section_set(config, to, yaml, prefix, name, key_node, ls_yaml_node(yaml, pair->value)));
    }
    return LS_OK;
}

ls_status ls_config_find_type(const ls_config *config, const ls_yaml *yaml, const yaml_node_t *node,
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

ls_status ls_config_read_layer(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
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
        status = ls_config_read_layer(config, yaml, what, ls_yaml_node(yaml, *items), list);
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
