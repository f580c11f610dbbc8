#include "model/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPEN = 16, SETTINGS_SIZE = 512 };

struct ls_builder {
    ls_network *network;
    /* The layers around the one that comes next, and the lists in them where it goes. Their addresses hold,
     * since nothing is appended to a list while a layer of it is open. */
    ls_layer *open[MAX_OPEN];
    ls_layer_list *list[MAX_OPEN + 1];
    int depth;
    ls_status status;
    char why[1024];
};

ls_builder *ls_builder_create(void) {
    ls_builder *builder;
    if (ls_calloc(&builder, 1, sizeof *builder, "a network") != LS_OK) return NULL;
    builder->status = ls_calloc(&builder->network, 1, sizeof *builder->network, "a network");
    if (builder->status == LS_OK) builder->list[0] = &builder->network->list;
    return builder;
}

/* Keeps the first mistake; messages live only until the next failure of any kind. */
static void note(ls_builder *builder, ls_status status) {
    if (status == LS_OK) return;
    builder->status = status;
    snprintf(builder->why, sizeof builder->why, "%s", ls_error_message());
}

static const ls_layer_class *find_class(const char *type) {
    for (int i = 0; i < ls_layer_class_count; i++)
        if (strcmp(ls_layer_classes[i]->name, type) == 0) return ls_layer_classes[i];
    return NULL;
}

/* Sets the keys of "key=value key=value"; `text` is cut up. Bit i of *given: key i. */
static ls_status set_keys(const ls_layer *layer, char *text, uint64_t *given) {
    const ls_key_table *table = &layer->class->keys;
    char *rest = NULL;
    *given = 0;
    if (table->count > 64) return ls_fail(LS_USAGE, "%s: more than 64 keys", layer->class->name);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (value) *value++ = '\0';
        const ls_key *key = ls_key_find(table, word);
        if (!value || !key || key->type == LS_KEY_LAYERS)
            return ls_fail(LS_USAGE, "%s: '%.40s' is no key=value of it", layer->class->name, word);
        LS_TRY(ls_key_set(key, layer->settings, value));
        *given |= UINT64_C(1) << (key - table->keys);
    }
    return LS_OK;
}

__attribute__((format(printf, 3, 0))) static ls_status
append(ls_builder *builder, const char *type, const char *settings, va_list args, ls_layer **layer) {
    const ls_layer_class *class = find_class(type);
    char text[SETTINGS_SIZE] = "";
    uint64_t given;
    if (!class) return ls_fail(LS_USAGE, "unknown layer '%.40s'", type);
    if (settings && vsnprintf(text, sizeof text, settings, args) >= SETTINGS_SIZE)
        return ls_fail(LS_USAGE, "%s: more than %d bytes of settings", type, SETTINGS_SIZE - 1);
    LS_TRY(ls_layers_append(builder->list[builder->depth], class, layer));
    LS_TRY(ls_keys_set_defaults(&class->keys, (*layer)->settings));
    LS_TRY(set_keys(*layer, text, &given));
    for (int i = 0; i < class->keys.count; i++) {
        const ls_key *key = &class->keys.keys[i];
        if (!key->initial && key->type != LS_KEY_LAYERS && !(given >> i & 1))
            return ls_fail(LS_USAGE, "%s.%s: not given, and there is no default (%s)", type, key->name,
                           key->help);
    }
    return LS_OK;
}

void ls_build(ls_builder *builder, const char *type, const char *settings, ...) {
    ls_layer *layer;
    va_list args;
    if (!builder || builder->status != LS_OK) return;
    va_start(args, settings);
    note(builder, append(builder, type, settings, args, &layer));
    va_end(args);
}

void ls_build_open(ls_builder *builder, const char *type, const char *settings, ...) {
    ls_layer *layer;
    va_list args;
    if (!builder || builder->status != LS_OK) return;
    va_start(args, settings);
    ls_status status = append(builder, type, settings, args, &layer);
    va_end(args);
    if (status == LS_OK && ls_layer_branches(layer->class) == 0)
        status = ls_fail(LS_USAGE, "%s: holds no layers", type);
    if (status == LS_OK && builder->depth == MAX_OPEN)
        status = ls_fail(LS_USAGE, "%s: layers nested deeper than %d levels", type, MAX_OPEN);
    if (status != LS_OK) {
        note(builder, status);
        return;
    }
    builder->open[builder->depth++] = layer;
    builder->list[builder->depth] = &layer->branch[0];
}

void ls_build_list(ls_builder *builder, const char *key) {
    if (!builder || builder->status != LS_OK) return;
    ls_layer *layer = builder->depth > 0 ? builder->open[builder->depth - 1] : NULL;
    for (int b = 0; layer && b < ls_layer_branches(layer->class); b++)
        if (strcmp(ls_layer_branch_key(layer->class, b)->name, key) == 0) {
            builder->list[builder->depth] = &layer->branch[b];
            return;
        }
    note(builder, ls_fail(LS_USAGE, "%s: no list '%.40s'", layer ? layer->class->name : "network", key));
}

void ls_build_close(ls_builder *builder) {
    if (!builder || builder->status != LS_OK) return;
    if (builder->depth == 0)
        note(builder, ls_fail(LS_USAGE, "network: no layer is open"));
    else
        builder->depth--;
}

ls_status ls_build_network(ls_builder **out, int height, int width, int classes, ls_network **network) {
    ls_builder *builder = *out;
    *out = NULL;
    *network = NULL;
    if (!builder) return ls_fail(LS_INTERNAL, "out of memory for a network");
    ls_status status = builder->status;
    if (status != LS_OK)
        status = ls_fail(status, "%s", builder->why);
    else if (builder->depth > 0)
        status = ls_fail(LS_USAGE, "%s: not closed", builder->open[builder->depth - 1]->class->name);
    else
        status = ls_network_declare(builder->network, 3, (const int64_t[]){height, width, 1}, classes);
    if (status == LS_OK)
        *network = builder->network;
    else
        ls_network_destroy(&builder->network);
    free(builder);
    return status;
}
