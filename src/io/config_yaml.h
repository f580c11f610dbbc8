/* One YAML document with the positions of its values: what config.c reads files and command-line values
 * through. Internal to src/io. */
#ifndef LOCKSTEP_IO_CONFIG_YAML_H
#define LOCKSTEP_IO_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "core/keys.h"
#include "core/status.h"

enum {
    LS_CONFIG_MAX_BYTES = 1 << 20,
    LS_CONFIG_MAX_DEPTH = 64,
    LS_CONFIG_MAX_NODES = 100000,
    LS_CONFIG_MAX_BASES = 8,
    LS_POSITION_MAX = 1024 /* bytes of a position in a message, with its end */
};

typedef struct ls_yaml {
    const char *name;  /* the file, or "key=value"; not owned */
    bool command_line; /* positions are then "command line: key=value", without line and column */
    bool own;          /* the user's own words: what they set has to be read by something */
    unsigned number;   /* of this document among those of a configuration, from 1 */
    bool loaded;
    yaml_document_t document;
} ls_yaml;

/* Parses exactly one document, strictly: no anchors, aliases or tags, and the limits above; a byte order mark
 * of UTF-8 in front is passed over. yaml->name, command_line, own and number are set by the caller, the rest is zero; after a failure too, ls_yaml_destroy. */
ls_status ls_yaml_load(ls_yaml *yaml, const char *text, size_t length);
void ls_yaml_destroy(ls_yaml *yaml);

yaml_node_t *ls_yaml_root(ls_yaml *yaml);
yaml_node_t *ls_yaml_node(ls_yaml *yaml, int index);
/* A null: nothing, ~ or null, unquoted. */
bool ls_yaml_is_null(const yaml_node_t *node);
/* "a map", "a list", "nothing" or "'text'": the middle of "found .., expected ..". */
const char *ls_yaml_found(const yaml_node_t *node, char *text, size_t size);

void ls_yaml_position(const ls_yaml *yaml, const yaml_node_t *node, char position[LS_POSITION_MAX]);
/* LS_USAGE with the node's position in front of the message. */
ls_status ls_yaml_fail(const ls_yaml *yaml, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The text of a map's key or of a name, which must be a scalar; owned by the document. */
ls_status ls_yaml_name(const ls_yaml *yaml, const yaml_node_t *node, const char *what, const char **name);

/* The value of a key in the form that ls_key_set takes, checked against the key; owned by the caller.
 * `prefix` stands in front of the key's name in messages ("dense."). */
ls_status ls_yaml_value(ls_yaml *yaml, const yaml_node_t *node, const ls_key *key, const char *prefix,
                        char **text);

/* A value as a YAML scalar of exactly these bytes; owned by the caller. */
ls_status ls_yaml_quote(const char *bytes, char **text);
/* A path with "~" or "~/" in front replaced by the home folder; owned by the caller. LS_USAGE at the node: there
 * is no home, or it is another user's. */
ls_status ls_yaml_path(const ls_yaml *yaml, const yaml_node_t *node, const char *what, const char *path,
                       char **expanded);

/* Checks a text against a key, and writes the value again in canonical form (NULL: only checks). */
ls_status ls_key_canonical(const ls_key *key, const char *text, char *canonical, size_t size);

#endif
