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
    unsigned document;   /* that gave it: a second time in one document is an error .. */
    unsigned command;    /* .. and in one list of overrides; 0: a file */
    bool own;            /* ls_yaml's */
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
    const ls_key_table *run_keys; /* the caller's .. */
    ls_key_table unfolded;        /* .. with those of classes: the table of `run` */
    ls_section run;
    ls_section *defaults; /* [type_count] */
    ls_config_list network;
    ls_config_layer **flat; /* [layer_count] all layers of the tree, a layer before those in it */
    int layer_count;
    ls_config_files *files; /* while loading; NULL: files are read here */
    unsigned documents;     /* read so far */
    unsigned commands;      /* lists of overrides so far */
    int layers_read, depth; /* of the document at hand, against the limits; lists around the one being read */
};

enum { LS_CONFIG_MAX_LAYERS = 4096, LS_CONFIG_MAX_NESTING = 16 };

struct stat;

/* Where a file is named: the `base` in a document, or, with NULL, the command line; and the files that it is read
 * for, to find cycles. */
typedef struct ls_config_place {
    const ls_yaml *by;
    const yaml_node_t *at;
    const char *path;
    struct chain *link;
} ls_config_place;

/* The text of a file, owned by the caller; `check` sees it before it is read. LS_USAGE: with the place. */
ls_status ls_config_read_file(ls_config *config, const char *path, const ls_config_place *place,
                              ls_status (*check)(const ls_config_place *place, const struct stat *info),
                              char **text, size_t *length);

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
/* LS_USAGE: a name that is no key; `nearest` is one that may have been meant, or NULL. */
ls_status ls_config_unknown_key(const ls_yaml *yaml, const yaml_node_t *node, const char *prefix,
                                const char *name, const char *nearest);
ls_status ls_config_find_type(const ls_config *config, const ls_yaml *yaml, const yaml_node_t *node,
                              const char *name, int *type);

/* Appends one layer, or what a repeat stands for. */
ls_status ls_config_read_layer(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                               ls_config_list *list);
/* Puts the layers of `made` where layer i of the list was, which it destroys; `made` is taken over. */
ls_status ls_config_list_replace(ls_config_list *list, int i, ls_config_list *made);
/* Replaces a list of layers by what a document says; `what` names it in messages: "network". */
ls_status ls_config_set_list(ls_config *config, ls_yaml *yaml, const char *what, const yaml_node_t *node,
                             ls_config_list *list);
/* network.INDEX, network.INDEX.TYPE, network.INDEX.TYPE.KEY, and so on through lists in lists: `path` is what
 * follows the first dot; it is cut at its dots. */
ls_status ls_config_override_network(ls_config *config, ls_yaml *yaml, char *path);
/* Once all is read: lists all layers in config->flat, and checks that what has no default was given, and that
 * what the user has set is read. */
ls_status ls_config_complete(ls_config *config, const char *name);

/* Checks that the top level is a map of names in which base, network and defaults come at most once, and
 * finds the value of `base` (NULL: none). */
ls_status ls_config_check_top(ls_yaml *yaml, const yaml_node_t **base);
/* Merges a document that passed ls_config_check_top; its `base` is the caller's business. */
ls_status ls_config_apply_document(ls_config *config, ls_yaml *yaml);
/* Merges "key=value" one after the other. */
ls_status ls_config_apply_overrides(ls_config *config, const char *const *overrides, int count);

/* The text of key i: the section's own, else that of `defaults` (may be NULL), else the key's default. */
const char *ls_section_text(const ls_section *own, const ls_section *defaults, int i);
/* Does anything read key i, by the conditions of the table? */
bool ls_section_reads(const ls_section *own, const ls_section *defaults, int i);
/* Is everything read that the user has set, in all sections? */
ls_status ls_config_check_read(const ls_config *config);

#endif
