#include "io/json_read.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_yaml.h"

struct ls_json_file {
    char *path, *text;
    ls_yaml yaml;
};

static ls_status read_text(const char *path, char **text, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) return ls_fail(LS_BAD_DATA, "%s: cannot be read: %s", path, strerror(errno));
    ls_status status = ls_calloc(text, LS_CONFIG_MAX_BYTES + 1, 1, "a JSON file");
    if (status == LS_OK) {
        *length = fread(*text, 1, LS_CONFIG_MAX_BYTES + 1, file);
        if (ferror(file)) status = ls_fail(LS_BAD_DATA, "%s: cannot be read", path);
    }
    fclose(file); /* nothing was written */
    return status;
}

ls_status ls_json_read(const char *path, ls_json_file **out) {
    char why[LS_POSITION_MAX];
    size_t length = 0;
    ls_json_file *file;
    *out = NULL;
    LS_TRY(ls_calloc(&file, 1, sizeof *file, "a JSON file"));
    ls_status status = ls_strdup(&file->path, path);
    if (status == LS_OK) status = read_text(path, &file->text, &length);
    if (status == LS_OK) {
        file->yaml.name = file->path;
        status = ls_yaml_load(&file->yaml, file->text, length);
    }
    if (status == LS_USAGE) { /* the file's fault, and not the command line's */
        snprintf(why, sizeof why, "%s", ls_error_message());
        status = ls_fail(LS_BAD_DATA, "%s", why);
    }
    if (status == LS_OK && ls_yaml_root(&file->yaml)->type != YAML_MAPPING_NODE)
        status = ls_fail(LS_BAD_DATA, "%s: found no JSON object", path);
    *out = file;
    if (status != LS_OK) ls_json_close(out);
    return status;
}

void ls_json_close(ls_json_file **file) {
    if (!*file) return;
    ls_yaml_destroy(&(*file)->yaml);
    free((*file)->text);
    free((*file)->path);
    free(*file);
    *file = NULL;
}

/* NULL: `map` is none, or has no such member. */
static yaml_node_t *member(ls_json_file *file, const yaml_node_t *map, const char *key) {
    if (!map || map->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = ls_yaml_node(&file->yaml, p->key);
        if (name->type == YAML_SCALAR_NODE && strcmp((const char *)name->data.scalar.value, key) == 0)
            return ls_yaml_node(&file->yaml, p->value);
    }
    return NULL;
}

ls_status ls_json_text_of(ls_json_file *file, const char *key, const char **text) {
    const yaml_node_t *node = member(file, ls_yaml_root(&file->yaml), key);
    if (!node || node->type != YAML_SCALAR_NODE || ls_yaml_is_null(node))
        return ls_fail(LS_BAD_DATA, "%s: %s: found none, expected a text", file->path, key);
    *text = (const char *)node->data.scalar.value;
    return LS_OK;
}

static ls_status real_of(const ls_json_file *file, const char *key, const yaml_node_t *node, double *value) {
    char *end;
    if (ls_yaml_is_null(node)) {
        *value = (double)NAN;
        return LS_OK;
    }
    if (node->type == YAML_SCALAR_NODE) {
        const char *text = (const char *)node->data.scalar.value;
        *value = strtod(text, &end);
        if (end != text && !*end) return LS_OK;
    }
    return ls_fail(LS_BAD_DATA, "%s: %s: found something that is no number", file->path, key);
}

ls_status ls_json_reals_of(ls_json_file *file, const char *object, const char *key, double **values,
                           size_t *count) {
    const yaml_node_t *list = member(file, member(file, ls_yaml_root(&file->yaml), object), key);
    ls_status status = LS_OK;
    *values = NULL;
    *count = 0;
    if (!list) return LS_OK;
    if (list->type != YAML_SEQUENCE_NODE)
        return ls_fail(LS_BAD_DATA, "%s: %s: expected a list", file->path, key);
    const yaml_node_item_t *items = list->data.sequence.items.start;
    size_t length = (size_t)(list->data.sequence.items.top - items);
    LS_TRY(ls_calloc(values, length, sizeof **values, "the numbers of a list"));
    for (size_t i = 0; i < length && status == LS_OK; i++)
        status = real_of(file, key, ls_yaml_node(&file->yaml, items[i]), &(*values)[i]);
    if (status == LS_OK) {
        *count = length;
        return LS_OK;
    }
    free(*values);
    *values = NULL;
    return status;
}
