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
    LS_KEY_CHOICE,   /* int or an enum: position in `choices` */
    LS_KEY_INT_LIST, /* ls_int_list */
    LS_KEY_LAYERS    /* no member: the reader of the configuration keeps the layers (io/config.h) */
} ls_key_type;

/* Does a key change the numbers that training produces, or only how a verb is carried out: every one that runs a
 * model, those that take steps (train, bench), or train alone? */
typedef enum ls_key_effect { LS_KEY_RESULT, LS_KEY_RUN, LS_KEY_STEPS, LS_KEY_TRAIN } ls_key_effect;

/* LS_STRING_MAX: bytes of a string without its end; LS_KEY_TEXT_MAX: what ls_key_format needs at most. */
enum { LS_INT_LIST_MAX = 64, LS_STRING_MAX = 4095, LS_KEY_TEXT_MAX = 2 * LS_STRING_MAX + 3 };

/* Open bounds of LS_KEY_REAL: the neighbouring doubles; messages and help say "above 0" and "below 1". */
#define LS_KEY_ABOVE_ZERO 0x1p-1022
#define LS_KEY_BELOW_ONE  0x1.fffffffffffffp-1

typedef struct ls_int_list {
    int count;
    int64_t value[LS_INT_LIST_MAX];
} ls_int_list;

/* When a key is read: where the key of that name in the same table has one of the choices "a|b", or, where
 * `choices` is NULL, is above 0. With `classes`: where the chosen class has a key of this name. */
typedef struct ls_key_condition {
    const char *key; /* NULL: always */
    const char *choices;
    const struct ls_key_classes *classes;
} ls_key_condition;

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
    /* What follows is 0 for most keys. */
    const struct ls_key_classes *classes; /* LS_KEY_CHOICE: its choices, instead of `choices` */
    ls_key_condition when;                /* else the key is not read: config.h */
    bool path; /* LS_KEY_STRING: a path, in which "~/" in front is the home folder */
} ls_key;

typedef struct ls_key_table {
    const ls_key *keys;
    int count;
} ls_key_table;

/* One choice of a key, with keys of its own, which are read where it is chosen: an optimizer, a schedule. */
typedef struct ls_key_class {
    const char *name;
    ls_key_table keys; /* of the class's own struct; a name that two classes of a list have means the same */
    size_t settings_size; /* of that struct; 0: no keys */
} ls_key_class;

enum { LS_KEY_CLASSES_MAX = 32 };

typedef struct ls_key_classes {
    const ls_key_class *list[LS_KEY_CLASSES_MAX];
    int count;
} ls_key_classes;

/* Adds a class behind the others, at the start of a program, before any other thread; it must live as long as
 * the process. LS_USAGE: there is one of that name, or no room; `kind` names the list in the message. */
ls_status ls_key_class_add(ls_key_classes *classes, const char *kind, const ls_key_class *class);
/* The class of that name, or NULL. */
const ls_key_class *ls_key_class_find(const ls_key_classes *classes, const char *name);

/* Finds a class by name and makes its settings: defaults, then what the words KEY=VALUE say. LS_USAGE: no such
 * class or key, a wrong value, or a key without a default that is not given; `kind` names the list in messages.
 * The caller frees *settings, after ls_keys_free(); NULL after a failure. */
ls_status ls_key_class_create(const ls_key_classes *classes, const char *kind, const char *name,
                              const char *const *words, int count, const ls_key_class **class,
                              void **settings);

/* A table with all keys of all classes: behind each key that has classes theirs, each name once, read where a
 * class that has it is chosen. Their offsets are of the classes' structs. The caller frees all->keys. */
ls_status ls_keys_unfold(const ls_key_table *table, ls_key_table *all);
/* Is the key read, where the one that its condition names has this value (as ls_key_set takes it)? */
bool ls_key_condition_holds(const ls_key *key, const char *value);
/* "optimizer=adam", "schedule=multistep|exponential", "augment above 0"; "" without a condition. Returns
 * text. */
const char *ls_key_condition_text(const ls_key *key, char *text, size_t size);

/* The row of that name, or NULL. */
const ls_key *ls_key_find(const ls_key_table *table, const char *name);
/* The name nearest to a mistyped one (as ls_name_nearer), or NULL. */
const char *ls_key_nearest(const ls_key_table *table, const char *name);

/* The optimal string alignment distance of two names: insertions, deletions, substitutions, swapped
 * neighbours. */
int ls_edit_distance(const char *a, const char *b);
/* For "did you mean": `candidate` if it is near enough to what was typed (edit distance at most 2, or a
 * synonym) and nearer than `best` (may be NULL). */
const char *ls_name_nearer(const char *typed, const char *best, const char *candidate);
/* Does a word that other frameworks use stand for this name of ours: learning_rate for lr? Capitals, "_" and
 * "-" do not count. */
bool ls_is_synonym(const char *typed, const char *name);
/* Text fit for a message: control characters replaced, cut to size with "..". */
void ls_key_excerpt(const char *text, char *excerpt, size_t size);

/* Sets a member from text as it would be written in a file: a list is "[1, 2]", a string plain or in double
 * quotes with the escapes \" and \\. LS_USAGE: the message is "KEY: what is wrong: found .., expected ..",
 * without a position in a file, which the caller puts in front; the member is left as it was. */
ls_status ls_key_set(const ls_key *key, void *settings, const char *text);
/* The text that ls_key_set takes for a string of exactly these bytes; owned by the caller. */
ls_status ls_key_quote(const char *bytes, char **text);
/* Sets every member that has a default; settings must be zeroed. */
ls_status ls_keys_set_defaults(const ls_key_table *table, void *settings);
/* Sets what the words KEY=VALUE say of keys of this table, a string to all that follows the "="; the other
 * words, in their order, go to rest[count] and their number to *rest_count. LS_USAGE as ls_key_set, with
 * "command line: " in front, or a key that is given twice. */
ls_status ls_keys_take(const ls_key_table *table, void *settings, const char *const *words, int count,
                       const char **rest, int *rest_count);
/* Frees the strings; safe twice. */
void ls_keys_free(const ls_key_table *table, void *settings);
/* The member as text that ls_key_set reads back to the same value (doubles with 17 digits where needed,
 * shorter where that is exact). Strings come quoted for YAML where they need it. Truncates to size. */
void ls_key_format(const ls_key *key, const void *settings, char *text, size_t size);
/* What a value may be, for the column of --help: "1 .. 256", "0 .. <1", "sgd|momentum|adam". */
void ls_key_format_range(const ls_key *key, char *text, size_t size);
/* One line a key for --help: name, default, range or choices, when it is read, help; also those of
 * classes. LS_INTERNAL: out of memory. */
ls_status ls_keys_print_help(const ls_key_table *table, FILE *file);

#endif
