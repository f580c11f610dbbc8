/* Tables of named settings: one row a key, and from it parsing, range checks, --help and the resolved
 * configuration. The options of a run (train/options.h) and the keys of each layer are such tables. */
#ifndef LOCKSTEP_CORE_KEYS_H
#define LOCKSTEP_CORE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

typedef enum ls_key_type {
    LS_KEY_BOOL,     /* bool */
    LS_KEY_INT,      /* int64_t */
    LS_KEY_REAL,     /* double */
    LS_KEY_STRING,   /* char *, owned */
    LS_KEY_CHOICE,   /* int: position in `choices` */
    LS_KEY_INT_LIST, /* ls_int_list */
    LS_KEY_LAYERS    /* no member: the reader of the configuration keeps the layers (io/config.h) */
} ls_key_type;

/* Does a key change the numbers that training produces, or only how the run is carried out? */
typedef enum ls_key_effect { LS_KEY_RESULT, LS_KEY_RUN } ls_key_effect;

/* LS_STRING_MAX: bytes of a string without its end; LS_KEY_TEXT_MAX: what ls_key_format needs at most. */
enum { LS_INT_LIST_MAX = 64, LS_STRING_MAX = 4095, LS_KEY_TEXT_MAX = 2 * LS_STRING_MAX + 3 };

/* Open bounds of LS_KEY_REAL: the neighbouring doubles; messages and help say "above 0" and "below 1". */
#define LS_KEY_ABOVE_ZERO 0x1p-1022
#define LS_KEY_BELOW_ONE  0x1.fffffffffffffp-1

typedef struct ls_int_list {
    int count;
    int64_t value[LS_INT_LIST_MAX];
} ls_int_list;

typedef struct ls_key {
    const char *name;
    ls_key_type type;
    ls_key_effect effect;
    size_t offset;       /* of the member in the struct that the table describes */
    const char *initial; /* default, as written in a file; "": empty string; NULL: required */
    double min, max; /* inclusive, for LS_KEY_INT, LS_KEY_REAL and the members of LS_KEY_INT_LIST; min: the
                        fewest LS_KEY_LAYERS */
    const char *choices; /* "sgd|momentum|adam" for LS_KEY_CHOICE */
    const char *help;    /* one line */
} ls_key;

typedef struct ls_key_table {
    const ls_key *keys;
    int count;
} ls_key_table;

/* The row of that name, or NULL. */
const ls_key *ls_key_find(const ls_key_table *table, const char *name);
/* The name nearest to a mistyped one (edit distance at most 2), or NULL. */
const char *ls_key_nearest(const ls_key_table *table, const char *name);

/* The optimal string alignment distance of two names: insertions, deletions, substitutions, swapped
 * neighbours. */
int ls_edit_distance(const char *a, const char *b);
/* For "did you mean": `candidate` if it is near enough to what was typed and nearer than `best` (may be
 * NULL). */
const char *ls_name_nearer(const char *typed, const char *best, const char *candidate);
/* Text fit for a message: control characters replaced, cut to size with "..". */
void ls_key_excerpt(const char *text, char *excerpt, size_t size);

/* Sets a member from text as it would be written in a file: a list is "[1, 2]", a string plain or in double
 * quotes with the escapes \" and \\. LS_USAGE: the message is "KEY: what is wrong: found .., expected ..",
 * without a position in a file, which the caller puts in front; the member is left as it was. */
ls_status ls_key_set(const ls_key *key, void *settings, const char *text);
/* Sets every member that has a default; settings must be zeroed. */
ls_status ls_keys_set_defaults(const ls_key_table *table, void *settings);
/* Sets what the words KEY=VALUE say of keys of this table; the other words, in their order, go to rest[count]
 * and their number to *rest_count. LS_USAGE as ls_key_set, with "command line: " in front. */
ls_status ls_keys_take(const ls_key_table *table, void *settings, const char *const *words, int count,
                       const char **rest, int *rest_count);
/* Frees the strings; safe twice. */
void ls_keys_free(const ls_key_table *table, void *settings);
/* The member as text that ls_key_set reads back to the same value (doubles with 17 digits where needed,
 * shorter where that is exact). Strings come quoted for YAML where they need it. Truncates to size. */
void ls_key_format(const ls_key *key, const void *settings, char *text, size_t size);
/* One line a key for --help: name, default, range or choices, help. */
void ls_keys_print_help(const ls_key_table *table, FILE *file);

#endif
