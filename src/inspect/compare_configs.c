/* Two configurations, key by key and layer by layer. */
#include <stdlib.h>
#include <string.h>

#include "inspect/compare.h"

typedef struct side {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    char *text; /* [LS_KEY_TEXT_MAX] of the value at hand */
} side;

static ls_status read_side(const ls_config_text *from, side *s) {
    *s = (side){0};
    ls_network_layer_keys(s->layers);
    LS_TRY(ls_calloc(&s->text, LS_KEY_TEXT_MAX, 1, "a value"));
    ls_status status = ls_config_parse(from->path, from->yaml, strlen(from->yaml), &ls_option_keys, s->layers,
                                       ls_layer_class_count, &s->config);
    return status == LS_USAGE ? LS_BAD_DATA : status; /* the message names the file already */
}

static void release(side *s) {
    ls_config_destroy(&s->config);
    free(s->text);
}

/* Prints the rows of a table in which two settings differ; the number of them. */
static int compare_settings(const ls_key_table *table, const char *prefix, const void *a, const void *b,
                            char *text_a, char *text_b, FILE *out) {
    int count = 0;
    for (int i = 0; i < table->count; i++) {
        const ls_key *key = &table->keys[i];
        if (key->effect != LS_KEY_RESULT) continue;
        ls_key_format(key, a, text_a, LS_KEY_TEXT_MAX);
        ls_key_format(key, b, text_b, LS_KEY_TEXT_MAX);
        if (strcmp(text_a, text_b) == 0) continue;
        fprintf(out, "  %s%s: %s | %s\n", prefix, key->name, text_a, text_b);
        count++;
    }
    return count;
}

/* The same for the keys of the run, also those of optimizers and schedules; "-" where one is not read. */
static ls_status compare_run(const side *a, const side *b, int *count, FILE *out) {
    const ls_key_table *table = ls_config_run_keys(a->config);
    for (int i = 0; i < table->count; i++) {
        const ls_key *key = &table->keys[i];
        if (key->effect != LS_KEY_RESULT) continue;
        LS_TRY(ls_config_run_value(a->config, key, a->text, LS_KEY_TEXT_MAX));
        LS_TRY(ls_config_run_value(b->config, key, b->text, LS_KEY_TEXT_MAX));
        if (strcmp(a->text, b->text) == 0) continue;
        fprintf(out, "  %s: %s | %s\n", key->name, a->text, b->text);
        ++*count;
    }
    return LS_OK;
}

/* Two layers of one type. */
static ls_status compare_layer(const side *a, const side *b, int index, int *count, FILE *out) {
    const ls_layer_class *class = ls_layer_classes[ls_config_layer_type(a->config, index)];
    void *settings[2] = {NULL, NULL};
    char prefix[1024], path[900];
    snprintf(prefix, sizeof prefix, "%s.%s.", ls_config_layer_path(a->config, index, path, sizeof path),
             class->name);
    ls_status status = ls_calloc(&settings[0], 1, class->settings_size, "a layer");
    if (status == LS_OK) status = ls_calloc(&settings[1], 1, class->settings_size, "a layer");
    if (status == LS_OK) status = ls_config_layer_settings(a->config, index, settings[0]);
    if (status == LS_OK) status = ls_config_layer_settings(b->config, index, settings[1]);
    if (status == LS_OK)
        *count += compare_settings(&class->keys, prefix, settings[0], settings[1], a->text, b->text, out);
    for (int i = 0; i < 2; i++) {
        if (settings[i]) ls_keys_free(&class->keys, settings[i]);
        free(settings[i]);
    }
    return status;
}

static const char *layer_name(const side *s, int index) {
    return index < ls_config_layer_count(s->config)
               ? ls_layer_classes[ls_config_layer_type(s->config, index)]->name
               : "none";
}

static ls_status compare_all(const side *a, const side *b, FILE *out) {
    int count = 0;
    LS_TRY(compare_run(a, b, &count, out));
    for (int i = 0; i < ls_config_layer_count(a->config) || i < ls_config_layer_count(b->config); i++) {
        const char *name_a = layer_name(a, i), *name_b = layer_name(b, i);
        if (strcmp(name_a, name_b) == 0) {
            LS_TRY(compare_layer(a, b, i, &count, out));
        } else {
            char path[900];
            const ls_config *longer = i < ls_config_layer_count(a->config) ? a->config : b->config;
            fprintf(out, "  %s: %s | %s\n", ls_config_layer_path(longer, i, path, sizeof path), name_a,
                    name_b);
            count++;
        }
    }
    if (count == 0) fprintf(out, "configuration: the same settings\n");
    return LS_OK;
}

ls_status ls_compare_configs(const ls_config_text *a, const ls_config_text *b, FILE *out) {
    side sides[2] = {0};
    if (strcmp(a->yaml, b->yaml) == 0) {
        fprintf(out, "configuration: the same\n");
        return LS_OK;
    }
    fprintf(out, "configuration, where it differs:\n");
    ls_status status = read_side(a, &sides[0]);
    if (status == LS_OK) status = read_side(b, &sides[1]);
    if (status == LS_OK) status = compare_all(&sides[0], &sides[1], out);
    release(&sides[0]);
    release(&sides[1]);
    return status;
}
