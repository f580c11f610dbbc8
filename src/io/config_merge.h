/* What a configuration keeps, and how documents and overrides are merged into it. Internal to src/io.
 *
 * What is kept is not YAML but, for each key of each table, the text of its last setting: files and overrides
 * are applied one after the other, and each value is checked as it comes. */
#ifndef LOCKSTEP_IO_CONFIG_MERGE_H
#define LOCKSTEP_IO_CONFIG_MERGE_H

#include "io/config.h"
#include "io/config_yaml.h"

typedef struct ls_setting {
    char *text; /* as ls_key_set takes it; NULL: not given */
    char *position;
    unsigned document; /* that gave it: a second time in one document is an error */
} ls_setting;

/* The settings of one table: of the run, of `defaults` for a layer type, or of a layer. */
typedef struct ls_section {
    const ls_key_table *table;
    ls_setting *settings; /* [table->count] */
} ls_section;

typedef struct ls_layer_settings {
    int type;
    ls_section own;
    char *position;
} ls_layer_settings;

struct ls_config {
    const ls_layer_keys *types;
    int type_count;
    ls_section run;
    ls_section *defaults; /* [type_count] */
    ls_layer_settings *layers;
    int layer_count;
    unsigned documents; /* read so far */
};

ls_status ls_section_create(ls_section *made, const ls_key_table *table);
/* Both are safe on what is zeroed or half made. */
void ls_section_destroy(ls_section *old);
void ls_layer_settings_destroy(ls_layer_settings *layers, int count);

/* Checks that the top level is a map of names in which base, network and defaults come at most once, and
 * finds the value of `base` (NULL: none). */
ls_status ls_config_check_top(ls_yaml *yaml, const yaml_node_t **base);
/* Merges a document that passed ls_config_check_top; its `base` is the caller's business. */
ls_status ls_config_apply_document(ls_config *config, ls_yaml *yaml);
/* Merges "key=value". */
ls_status ls_config_apply_override(ls_config *config, const char *override);

#endif
