/* Loading: a file's bases first, then the file, then the overrides; and what the callers ask of the result.
 */
#include "io/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/config_merge.h"

/* The file being read and those that name it as their base, to find cycles. */
typedef struct chain {
    const struct chain *above;
    dev_t device;
    ino_t inode;
    int length; /* files in the chain, this one counted */
} chain;

void ls_config_destroy(ls_config **config) {
    ls_config *old = *config;
    *config = NULL;
    if (!old) return;
    ls_section_destroy(&old->run);
    free((void *)old->unfolded.keys);
    for (int i = 0; old->defaults && i < old->type_count; i++) ls_section_destroy(&old->defaults[i]);
    free(old->defaults);
    ls_config_list_destroy(&old->network);
    free(old->flat);
    free(old);
}

static ls_status config_create(const ls_key_table *run_keys, const ls_layer_keys *types, int type_count,
                               ls_config **config) {
    ls_config *made;
    LS_TRY(ls_calloc(&made, 1, sizeof *made, "a configuration"));
    ls_status status;
    made->run_keys = run_keys;
    LS_TRY_GOTO(status, fail, ls_keys_unfold(run_keys, &made->unfolded));
    LS_TRY_GOTO(status, fail, ls_section_create(&made->run, &made->unfolded));
    LS_TRY_GOTO(status, fail,
                ls_calloc(&made->defaults, (size_t)type_count, sizeof *made->defaults, "layer defaults"));
    made->types = types;
    made->type_count = type_count;
    for (int i = 0; i < type_count; i++) {
        LS_TRY_GOTO(status, fail, ls_section_create(&made->defaults[i], &types[i].keys));
        made->defaults[i].defaults = true;
    }
    *config = made;
    return LS_OK;
fail:
    ls_config_destroy(&made);
    return status;
}

/* The path that `base` means: relative to the file that names it. */
static ls_status base_path(const char *path, const char *base, char **joined) {
    const char *slash = strrchr(path, '/');
    size_t folder = base[0] == '/' || !slash ? 0 : (size_t)(slash - path) + 1, size = strlen(base) + 1;
    LS_TRY(ls_calloc(joined, folder + size, 1, "the path of a base"));
    memcpy(*joined, path, folder);
    memcpy(*joined + folder, base, size);
    return LS_OK;
}

/* Is this file already among those that name it? */
static ls_status check_chain(const ls_config_place *place, const struct stat *info) {
    chain *link = place->link;
    link->device = info->st_dev;
    link->inode = info->st_ino;
    if (!place->by) return LS_OK;
    for (const chain *above = link->above; above; above = above->above)
        if (above->device == link->device && above->inode == link->inode)
            return ls_yaml_fail(place->by, place->at, "base: cycle: %.500s is reached from itself",
                                place->path);
    if (link->length > LS_CONFIG_MAX_BASES + 1)
        return ls_yaml_fail(place->by, place->at, "base: more than %d files deep at %.500s",
                            LS_CONFIG_MAX_BASES, place->path);
    return LS_OK;
}

static ls_status load_file(ls_config *config, const char *path, const chain *above, const ls_yaml *by,
                           const yaml_node_t *at);

static ls_status load_base(ls_config *config, const char *path, const chain *link, ls_yaml *yaml,
                           const yaml_node_t *base) {
    const char *name;
    char *joined, *expanded;
    LS_TRY(ls_yaml_name(yaml, base, "base", &name));
    LS_TRY(ls_yaml_path(yaml, base, "base", name, &expanded));
    ls_status status = base_path(path, expanded, &joined);
    free(expanded);
    LS_TRY(status);
    status = load_file(config, joined, link, yaml, base);
    free(joined);
    return status;
}

static ls_status load_file(ls_config *config, const char *path, const chain *above, const ls_yaml *by,
                           const yaml_node_t *at) {
    chain link = {.above = above, .length = above ? above->length + 1 : 1};
    ls_yaml yaml = {.name = path, .own = !by, .number = ++config->documents};
    const yaml_node_t *base;
    char *text = NULL;
    size_t length = 0;
    ls_status status;
    const ls_config_place place = {by, at, path, &link};
    LS_TRY_GOTO(status, done, ls_config_read_file(config, path, &place, check_chain, &text, &length));
    LS_TRY_GOTO(status, done, ls_yaml_load(&yaml, text, length));
    LS_TRY_GOTO(status, done, ls_config_check_top(&yaml, &base));
    if (base) LS_TRY_GOTO(status, done, load_base(config, path, &link, &yaml, base));
    status = ls_config_apply_document(config, &yaml);
done:
    ls_yaml_destroy(&yaml);
    free(text);
    return status;
}

ls_status ls_config_load(const char *path, const char *const *overrides, int override_count,
                         const ls_key_table *run_keys, const ls_layer_keys *layers, int layer_count,
                         ls_config **config) {
    return ls_config_load_from(NULL, path, overrides, override_count, run_keys, layers, layer_count, config);
}

ls_status ls_config_load_from(ls_config_files *files, const char *path, const char *const *overrides,
                              int override_count, const ls_key_table *run_keys, const ls_layer_keys *layers,
                              int layer_count, ls_config **config) {
    ls_config *made = NULL;
    ls_status status;
    LS_TRY_GOTO(status, fail, config_create(run_keys, layers, layer_count, &made));
    made->files = files;
    if (path) LS_TRY_GOTO(status, fail, load_file(made, path, NULL, NULL, NULL));
    LS_TRY_GOTO(status, fail, ls_config_apply_overrides(made, overrides, override_count));
    LS_TRY_GOTO(status, fail, ls_config_complete(made, path ? path : "command line"));
    made->files = NULL;
    *config = made;
    return LS_OK;
fail:
    ls_config_destroy(&made);
    return status;
}

ls_status ls_config_parse(const char *name, const char *text, size_t length, const ls_key_table *run_keys,
                          const ls_layer_keys *layers, int layer_count, ls_config **config) {
    ls_yaml yaml = {.name = name, .number = 1};
    ls_config *made = NULL;
    const yaml_node_t *base;
    ls_status status;
    LS_TRY_GOTO(status, done, config_create(run_keys, layers, layer_count, &made));
    made->documents = yaml.number;
    LS_TRY_GOTO(status, done, ls_yaml_load(&yaml, text, length));
    LS_TRY_GOTO(status, done, ls_config_check_top(&yaml, &base));
    if (base) LS_TRY_GOTO(status, done, ls_yaml_fail(&yaml, base, "base: only a file may name its base"));
    LS_TRY_GOTO(status, done, ls_config_apply_document(made, &yaml));
    LS_TRY_GOTO(status, done, ls_config_complete(made, name));
    *config = made;
    made = NULL;
done:
    ls_config_destroy(&made);
    ls_yaml_destroy(&yaml);
    return status;
}

ls_status ls_config_override(ls_config *config, const char *const *overrides, int override_count) {
    LS_TRY(ls_config_apply_overrides(config, overrides, override_count));
    return ls_config_complete(config, "command line");
}

/* Sets the keys of `table`, by their names in the sections. */
static ls_status fill_settings(const ls_section *own, const ls_section *defaults, const ls_key_table *table,
                               void *settings) {
    for (int i = 0; i < table->count; i++) {
        const ls_key *key = ls_key_find(own->table, table->keys[i].name);
        const char *text = ls_section_text(own, defaults, (int)(key - own->table->keys));
        ls_status status = ls_key_set(&table->keys[i], settings, text);
        if (status == LS_OK) continue;
        ls_keys_free(table, settings);
        return status;
    }
    return LS_OK;
}

ls_status ls_config_settings(const ls_config *config, void *settings) {
    return fill_settings(&config->run, NULL, config->run_keys, settings);
}

ls_status ls_config_class(const ls_config *config, const char *key, const ls_key_class **class,
                          void **settings) {
    const ls_key *found = ls_key_find(config->run.table, key);
    *settings = NULL;
    *class = ls_key_class_find(found->classes,
                               ls_section_text(&config->run, NULL, (int)(found - config->run.table->keys)));
    LS_TRY(ls_calloc(settings, 1, (*class)->settings_size + 1, "settings")); /* not 0 bytes */
    ls_status status = fill_settings(&config->run, NULL, &(*class)->keys, *settings);
    if (status == LS_OK) return LS_OK;
    free(*settings);
    *settings = NULL;
    return status;
}

const ls_key_table *ls_config_run_keys(const ls_config *config) {
    return config->run.table;
}

ls_status ls_config_run_value(const ls_config *config, const ls_key *key, char *text, size_t size) {
    const int i = (int)(ls_key_find(config->run.table, key->name) - config->run.table->keys);
    if (ls_section_reads(&config->run, NULL, i))
        return ls_key_canonical(key, ls_section_text(&config->run, NULL, i), text, size);
    snprintf(text, size, "-");
    return LS_OK;
}

const char *ls_config_key_position(const ls_config *config, const char *key) {
    const ls_key *found = ls_key_find(config->run.table, key);
    const char *position = found ? config->run.settings[found - config->run.table->keys].position : NULL;
    return position ? position : "default";
}

int ls_config_layer_count(const ls_config *config) {
    return config->layer_count;
}

int ls_config_layer_type(const ls_config *config, int i) {
    return config->flat[i]->type;
}

int ls_config_layer_parent(const ls_config *config, int i, int *branch, int *place) {
    *branch = config->flat[i]->branch;
    *place = config->flat[i]->place;
    return config->flat[i]->parent;
}

const char *ls_config_layer_path(const ls_config *config, int i, char *text, size_t size) {
    const ls_config_layer *layer = config->flat[i];
    if (layer->parent < 0) {
        snprintf(text, size, "network.%d", layer->place);
        return text;
    }
    const ls_layer_keys *type = &config->types[config->flat[layer->parent]->type];
    int key = 0;
    for (int branch = layer->branch; type->keys.keys[key].type != LS_KEY_LAYERS || branch-- > 0;) key++;
    size_t used = strlen(ls_config_layer_path(config, layer->parent, text, size));
    snprintf(text + used, size - used, ".%s.%s.%d", type->name, type->keys.keys[key].name, layer->place);
    return text;
}

ls_status ls_config_layer_settings(const ls_config *config, int i, void *settings) {
    const ls_config_layer *layer = config->flat[i];
    return fill_settings(&layer->own, &config->defaults[layer->type], layer->own.table, settings);
}

const char *ls_config_layer_position(const ls_config *config, int i) {
    return config->flat[i]->position;
}

/* "key: value" for each key that is read (of the result only, if so) but lists of layers, with `separator` between two and
 * `end` after the last. */
static ls_status write_section(FILE *file, const ls_section *own, const ls_section *defaults,
                               bool result_only, const char *separator, const char *end) {
    char *text;
    bool first = true;
    LS_TRY(ls_calloc(&text, LS_KEY_TEXT_MAX, 1, "a resolved value"));
    ls_status status = LS_OK;
    for (int i = 0; i < own->table->count && status == LS_OK; i++) {
        const ls_key *key = &own->table->keys[i];
        if ((result_only && key->effect != LS_KEY_RESULT) || key->type == LS_KEY_LAYERS) continue;
        if (!ls_section_reads(own, defaults, i)) continue;
        status = ls_key_canonical(key, ls_section_text(own, defaults, i), text, LS_KEY_TEXT_MAX);
        if (status == LS_OK) fprintf(file, "%s%s: %s", first ? "" : separator, key->name, text);
        first = false;
    }
    fputs(end, file);
    free(text);
    return status;
}

static ls_status write_layers(FILE *file, const ls_config *config, const ls_config_list *list, int indent);

/* A layer on one line; one with layers in it has a line for each of its keys, and for each of those layers.
 */
static ls_status write_layer(FILE *file, const ls_config *config, const ls_config_layer *layer, int indent) {
    const ls_section *own = &layer->own, *defaults = &config->defaults[layer->type];
    char separator[8 + 6 * LS_CONFIG_MAX_NESTING];
    int lists = 0;
    fprintf(file, "%*s- %s:", indent, "", config->types[layer->type].name);
    for (int k = 0; k < own->table->count; k++) {
        const ls_config_list *inner = &own->settings[k].list;
        if (own->table->keys[k].type != LS_KEY_LAYERS) continue;
        fprintf(file, "%s%*s%s:%s\n", lists++ ? "" : "\n", indent + 4, "", own->table->keys[k].name,
                inner->count ? "" : " []");
        LS_TRY(write_layers(file, config, inner, indent + 6));
    }
    fprintf(file, "%*s", lists ? indent + 4 : 2, lists ? "" : " {");
    snprintf(separator, sizeof separator, "\n%*s", indent + 4, "");
    return write_section(file, own, defaults, false, lists ? separator : ", ", lists ? "\n" : "}\n");
}

static ls_status write_layers(FILE *file, const ls_config *config, const ls_config_list *list, int indent) {
    for (int i = 0; i < list->count; i++) LS_TRY(write_layer(file, config, &list->layers[i], indent));
    return LS_OK;
}

static ls_status write_resolved(FILE *file, const ls_config *config, bool result_only) {
    LS_TRY(write_section(file, &config->run, NULL, result_only, "\n", "\n"));
    fprintf(file, config->network.count > 0 ? "network:\n" : "network: []\n");
    return write_layers(file, config, &config->network, 2);
}

static ls_status resolve(const ls_config *config, bool result_only, char **yaml) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) return ls_fail(LS_INTERNAL, "out of memory for a resolved configuration");
    ls_status status = write_resolved(file, config, result_only);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        status = ls_fail(LS_INTERNAL, "out of memory for a resolved configuration");
    if (status == LS_OK)
        *yaml = text;
    else
        free(text);
    return status;
}

ls_status ls_config_resolve(const ls_config *config, char **yaml) {
    return resolve(config, false, yaml);
}

ls_status ls_config_resolve_result(const ls_config *config, char **yaml) {
    return resolve(config, true, yaml);
}
