/* What a configuration keeps, and how documents and overrides are merged into it. Internal to src/io.
 *
 * What is kept is not YAML but, for each key of each table, the text of its last setting: files and overrides
 * are applied one after the other, and each value is checked as it comes. */
#ifndef LOCKSTEP_IO_CONFIG_MERGE_H
#define LOCKSTEP_IO_CONFIG_MERGE_H

#include "io/config.h"
#include "io/config_yaml.h"

/* The layers of a list, in order, each with lists of its own where its type has keys of LS_KEY_LAYERS. */
typedef struct ls_config_list {
    struct ls_config_layer *layers;
    int count, capacity;
} ls_config_list;

typedef struct ls_setting {
    char *text; /* as ls_key_set takes it, "" for a list of layers; NULL: not given */
    char *position;
    ls_config_list list; /* of a key of type LS_KEY_LAYERS */
    unsigned document;   /* that gave it: a second time in one document is an error */
} ls_setting;

/* The settings of one table: of the run, of `defaults` for a layer type, or of a layer. */
typedef struct ls_section {
    const ls_key_table *table;
    bool defaults;        /* for all layers of a type: these have no lists of layers */
    ls_setting *settings; /* [table->count] */
} ls_section;

typedef struct ls_config_layer {
    int type;
    ls_section own;
    char *position;
    int parent, branch, place; /* in config->flat, set with it: the header of ls_config_layer_parent() */
} ls_config_layer;

struct ls_config {
    const ls_layer_keys *types;
    int type_count;
    ls_section run;
    ls_section *defaults; /* [type_count] */
    ls_config_list network;
    ls_config_layer **flat; /* [layer_count] all layers of the tree, a layer before those in it */
    int layer_count;
    unsigned documents;     /* read so far */
    int layers_read, depth; /* of the document at hand, against the limits; lists around the one being read */
};

enum { LS_CONFIG_MAX_LAYERS = 4096, LS_CONFIG_MAX_NESTING = 16 };

ls_status ls_section_create(ls_section *made, const ls_key_table *table);
/* Both are safe on what is zeroed or half made. */
void ls_section_destroy(ls_section *old);
void ls_config_list_destroy(ls_config_list *old);

/* Sets one key of a section, whose name stands at key_node; `prefix` is "dense." or "defaults.dense.". */
ls_status ls_section_set(ls_config *config, ls_section *to, ls_yaml *yaml, const char *prefix,
                         const char *name, const yaml_node_t *key_node, const yaml_node_t *value_node);
/* Sets the keys of a map, or nothing for a null. */
ls_status ls_section_set_all(ls_config *config, ls_section *to, ls_yaml *yaml, const char *prefix,
                             const yaml_node_t *node);
ls_status ls_config_find_type(const ls_config *config, const ls_yaml *yaml, const yaml_node_t *node,
                              const char *name, int *type);

/* Replaces a list of layers by what a document says; `what` names it in messages: "network". */
ls_status ls_config_set_list(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                             ls_config_list *list);
/* network.INDEX, network.INDEX.TYPE, network.INDEX.TYPE.KEY, and so on through lists in lists: `path` is what
 * follows the first dot; it is cut at its dots. */
ls_status ls_config_override_network(ls_config *config, ls_yaml *yaml, char *path);
/* Once all is read: lists all layers in config->flat, and checks that what has no default was given. */
ls_status ls_config_complete(ls_config *config, const char *name);

/* Checks that the top level is a map of names in which base, network and defaults come at most once, and
 * finds the value of `base` (NULL: none). */
ls_status ls_config_check_top(ls_yaml *yaml, const yaml_node_t **base);
/* Merges a document that passed ls_config_check_top; its `base` is the caller's business. */
ls_status ls_config_apply_document(ls_config *config, ls_yaml *yaml);
/* Merges "key=value". */
ls_status ls_config_apply_override(ls_config *config, const char *override);

#endif
