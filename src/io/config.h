/* Configuration files: YAML documents read with libyaml, so that each value keeps file, line and column.
 *
 * A file may name a `base` (a path relative to itself, to any depth up to 8), which is read first; then the
 * file; then `key=value` overrides from the command line. `network` is a list of layers; `defaults` maps a
 * layer type to settings that apply to each layer of that type unless the layer says otherwise:
 *
 *     base: ../mlp-published.yaml
 *     lr: 0.05
 *     defaults: {dense: {init: xavier}, batchnorm: {affine: false}}
 *     network: [batchnorm, {dense: {units: 600}}, relu, {dropout: {rate: 0.3}}, {dense: {units: 10}}]
 *
 * A layer may hold lists of layers (keys of type LS_KEY_LAYERS), and `repeat` stands for its layers written
 * out N times:
 *
 *     - residual: {body: [{conv2d: {channels: 16, pad: 1}}, batchnorm], shortcut: []}
 *     - repeat: {times: 3, layers: [{dense: {units: 100}}, relu]}
 *
 * Merging: a setting given later replaces an earlier one; `defaults` merge setting by setting; a `network`
 * replaces the whole list. Overrides do the same with what they name: network.1=relu replaces layer 1
 * (counted from 0), network.1.dense={units: 300} and network.1.dense.units=300 change settings of the dense
 * layer that stands there, and network.3.residual.body.0.conv2d.channels=32 those of a layer inside another
 * (layers of a `repeat` count as written out). The value of an override is a YAML flow value:
 * milestones=[2000, 4000]. No key is given twice.
 *
 * The value of an override of a text key is the word as it stands, whatever characters it has. In paths (data,
 * output, resume, base) "~/" in front is the home folder.
 *
 * A key that is set is obeyed or refused: one that the chosen optimizer, schedule or layer does not read (the
 * condition of its row, core/keys.h) is refused where the file itself or an override sets it, and passed over
 * in silence where a `base` does. So is a setting of `defaults` that no layer takes.
 *
 * Strict: unknown and duplicate keys, wrong types, values out of range, anchors and tags, more than one
 * document, over 1 MiB, over 64 levels or 100,000 nodes, over 4096 layers or 16 levels of layers are refused
 * with LS_USAGE and a message "FILE:LINE:COLUMN: ..". */
#ifndef LOCKSTEP_IO_CONFIG_H
#define LOCKSTEP_IO_CONFIG_H

#include "core/keys.h"
#include "core/status.h"

typedef struct ls_config ls_config;

/* What the reader has to know of a layer type: its name and its keys. */
typedef struct ls_layer_keys {
    const char *name;
    ls_key_table keys;
} ls_layer_keys;

/* Reads `path` with its bases (a pipe is read too, and told after 10 s if nobody writes to it), then the overrides "key=value" (a dotted key reaches into a list or a map:
 * network.1.dense.units=300, defaults.dropout.rate=0.5), and checks every key of the run against `run_keys`
 * and every layer against `layers`, which must both outlive the configuration. `path` NULL: only the
 * overrides. LS_USAGE with position (overrides: "command line: key=value: .."). Local. */
ls_status ls_config_load(const char *path, const char *const *overrides, int override_count,
                         const ls_key_table *run_keys, const ls_layer_keys *layers, int layer_count,
                         ls_config **config);
/* The same from text in memory, as a program has written it: keys that are not read are passed over. `name`
 * stands for the file in messages; a `base` is refused. */
ls_status ls_config_parse(const char *name, const char *text, size_t length, const ls_key_table *run_keys,
                          const ls_layer_keys *layers, int layer_count, ls_config **config);
/* Applies overrides to what was read, as ls_config_load does; on failure the configuration is of no further
 * use. */
ls_status ls_config_override(ls_config *config, const char *const *overrides, int override_count);
void ls_config_destroy(ls_config **config);

/* Where the texts of files come from. LOOK: as usual, but something that can be read only once (a pipe) is left
 * alone. RECORD: as usual, and they are kept. GIVEN: they are those that another process has kept. */
typedef enum ls_config_source { LS_CONFIG_LOOK, LS_CONFIG_RECORD, LS_CONFIG_GIVEN } ls_config_source;

typedef struct ls_config_text_of {
    char *text; /* owned */
    size_t length;
} ls_config_text_of;

typedef struct ls_config_files {
    ls_config_source source;
    bool stream;              /* LOOK: such a file was met, and loading has failed for it */
    ls_config_text_of *texts; /* [count] in the order of reading */
    int count, taken;
} ls_config_files;

/* As ls_config_load(), with texts from there; `files` is not kept. */
ls_status ls_config_load_from(ls_config_files *files, const char *path, const char *const *overrides,
                              int override_count, const ls_key_table *run_keys, const ls_layer_keys *layers,
                              int layer_count, ls_config **config);
/* Appends a text, which is taken over. */
ls_status ls_config_files_add(ls_config_files *files, char *text, size_t length);
void ls_config_files_destroy(ls_config_files *files);

/* Fills a zeroed settings struct of the run keys: defaults, then what the files and overrides say. */
ls_status ls_config_settings(const ls_config *config, void *settings);
/* The class that a run key with classes chooses, and its settings, which the caller frees after
 * ls_keys_free(); NULL after a failure. */
ls_status ls_config_class(const ls_config *config, const char *key, const ls_key_class **class,
                          void **settings);

/* All run keys, with those of classes (ls_keys_unfold()). The config's. */
const ls_key_table *ls_config_run_keys(const ls_config *config);
/* The value of such a key in canonical form, or "-" if it is not read. Truncates to size. */
ls_status ls_config_run_value(const ls_config *config, const ls_key *key, char *text, size_t size);

/* Where a run key was set: "FILE:LINE:COLUMN", "command line: key=value" or "default". The config's. */
const char *ls_config_key_position(const ls_config *config, const char *key);

/* The keys of `repeat`, for --keys. */
extern const ls_key_table ls_config_repeat_keys;

/* All layers at any depth, a layer before those in it. */
int ls_config_layer_count(const ls_config *config);
/* The layer that layer i is in, -1: none; in which of its lists, counted over its keys of LS_KEY_LAYERS, and
 * at which place of that list. */
int ls_config_layer_parent(const ls_config *config, int i, int *branch, int *place);
/* Where layer i is, as overrides say it: "network.3.residual.body.0". Returns text. */
const char *ls_config_layer_path(const ls_config *config, int i, char *text, size_t size);
/* The type of layer i: an index into the `layers` that were given. */
int ls_config_layer_type(const ls_config *config, int i);
/* Fills a zeroed settings struct of layer i: key defaults, then `defaults`, then the layer's own. */
ls_status ls_config_layer_settings(const ls_config *config, int i, void *settings);
/* "FILE:LINE:COLUMN" of layer i, for messages; owned by the config. */
const char *ls_config_layer_position(const ls_config *config, int i);

/* The resolved configuration as YAML: every run key that is read with its value, in table order, then `network` with every
 * setting of every layer that is read (no base, no defaults). Parsing it again gives the same settings. malloc'ed, owned
 * by the caller. */
ls_status ls_config_resolve(const ls_config *config, char **yaml);
/* The same without the keys that only say how a run is carried out: what its numbers depend on.
 */
ls_status ls_config_resolve_result(const ls_config *config, char **yaml);

#endif
