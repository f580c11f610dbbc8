/* Keys that depend on the value of another: those of the chosen class, and those with a condition. */
#include <stdlib.h>
#include <string.h>

#include "core/keys.h"

enum { HELP_RANGE_WIDTH = 30, RANGE_SIZE = 400, CONDITION_SIZE = 200 };

/* --- classes ---------------------------------------------------------------------------------------- */

const ls_key_class *ls_key_class_find(const ls_key_classes *classes, const char *name) {
    for (int i = 0; i < classes->count; i++)
        if (strcmp(classes->list[i]->name, name) == 0) return classes->list[i];
    return NULL;
}

ls_status ls_key_class_add(ls_key_classes *classes, const char *kind, const ls_key_class *class) {
    if (!class->name || !*class->name || strpbrk(class->name, "|=. "))
        return ls_fail(LS_USAGE, "%s: its name: expected letters, digits, _ and -", kind);
    if (ls_key_class_find(classes, class->name))
        return ls_fail(LS_USAGE, "%s %s: there is one of that name", kind, class->name);
    if (class->keys.count > 0 && class->settings_size == 0)
        return ls_fail(LS_USAGE, "%s %s: its settings have no size", kind, class->name);
    if (classes->count == LS_KEY_CLASSES_MAX)
        return ls_fail(LS_USAGE, "%s %s: there are %d of them, as many as there can be", kind, class->name,
                       LS_KEY_CLASSES_MAX);
    classes->list[classes->count++] = class;
    return LS_OK;
}

static ls_status set_words(const char *kind, const ls_key_class *class, const char *const *words, int count,
                           void *settings) {
    const char **rest;
    int rest_count = 0;
    LS_TRY(ls_keys_set_defaults(&class->keys, settings));
    LS_TRY(ls_calloc(&rest, (size_t)count + 1, sizeof *rest, "settings"));
    ls_status status = ls_keys_take(&class->keys, settings, words, count, rest, &rest_count);
    if (status == LS_OK && rest_count > 0)
        status = ls_fail(LS_USAGE, "%s %s: unknown setting %s", kind, class->name, rest[0]);
    for (int i = 0; i < class->keys.count && status == LS_OK; i++) {
        const ls_key *key = &class->keys.keys[i];
        bool given = key->initial != NULL;
        const size_t length = strlen(key->name);
        for (int w = 0; w < count; w++)
            given = given || (strncmp(words[w], key->name, length) == 0 && words[w][length] == '=');
        if (!given) status = ls_fail(LS_USAGE, "%s %s: %s is not given", kind, class->name, key->name);
    }
    free(rest);
    return status;
}

ls_status ls_key_class_create(const ls_key_classes *classes, const char *kind, const char *name,
                              const char *const *words, int count, const ls_key_class **class,
                              void **settings) {
    *settings = NULL;
    *class = ls_key_class_find(classes, name);
    if (!*class) return ls_fail(LS_USAGE, "unknown %s '%s'", kind, name);
    LS_TRY(ls_calloc(settings, 1, (*class)->settings_size + 1, "settings")); /* not 0 bytes */
    ls_status status = set_words(kind, *class, words, count, *settings);
    if (status == LS_OK) return LS_OK;
    ls_keys_free(&(*class)->keys, *settings);
    free(*settings);
    *settings = NULL;
    return status;
}

static int count_unfolded(const ls_key_table *table) {
    int count = table->count;
    for (int i = 0; i < table->count; i++)
        for (int c = 0; table->keys[i].classes && c < table->keys[i].classes->count; c++)
            count += table->keys[i].classes->list[c]->keys.count;
    return count;
}

ls_status ls_keys_unfold(const ls_key_table *table, ls_key_table *all) {
    ls_key *rows;
    LS_TRY(ls_calloc(&rows, (size_t)count_unfolded(table), sizeof *rows, "a table of keys"));
    *all = (ls_key_table){rows, 0};
    for (int i = 0; i < table->count; i++) {
        const ls_key_classes *classes = table->keys[i].classes;
        rows[all->count++] = table->keys[i];
        for (int c = 0; classes && c < classes->count; c++)
            for (int k = 0; k < classes->list[c]->keys.count; k++) {
                ls_key key = classes->list[c]->keys.keys[k];
                if (ls_key_find(all, key.name)) continue;
                if (!key.when.key) key.when = (ls_key_condition){table->keys[i].name, NULL, classes};
                rows[all->count++] = key;
            }
    }
    return LS_OK;
}

/* --- conditions ------------------------------------------------------------------------------------- */

static bool is_choice(const char *choices, const char *value) {
    size_t length = strlen(value);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strncmp(at, value, length) == 0 && (at[length] == '|' || at[length] == '\0')) return true;
    return false;
}

bool ls_key_condition_holds(const ls_key *key, const char *value) {
    if (key->when.classes) {
        const ls_key_class *class = ls_key_class_find(key->when.classes, value);
        return class && ls_key_find(&class->keys, key->name);
    }
    return key->when.choices ? is_choice(key->when.choices, value) : strtod(value, NULL) > 0;
}

const char *ls_key_condition_text(const ls_key *key, char *text, size_t size) {
    const ls_key_condition *when = &key->when;
    *text = '\0';
    if (!when->key) return text;
    if (!when->classes) {
        snprintf(text, size, when->choices ? "%s=%s" : "%s above 0", when->key, when->choices);
        return text;
    }
    const char *between = "=";
    size_t at = (size_t)snprintf(text, size, "%s", when->key);
    for (int i = 0; i < when->classes->count && at < size; i++) {
        if (!ls_key_find(&when->classes->list[i]->keys, key->name)) continue;
        at += (size_t)snprintf(text + at, size - at, "%s%s", between, when->classes->list[i]->name);
        between = "|";
    }
    return text;
}

/* --- help ------------------------------------------------------------------------------------------- */

static const char *shown_default(const ls_key *key) {
    if (!key->initial) return "required";
    return key->initial[0] ? key->initial : "\"\"";
}

static void print_key(const ls_key *key, int name_width, int default_width, FILE *file) {
    char range[RANGE_SIZE], condition[CONDITION_SIZE];
    ls_key_format_range(key, range, sizeof range);
    ls_key_condition_text(key, condition, sizeof condition);
    fprintf(file, "  %-*s  %-*s  ", name_width, key->name, default_width, shown_default(key));
    /* A longer list of choices pushes the help to a line of its own, in the help's column. */
    if (strlen(range) > HELP_RANGE_WIDTH)
        fprintf(file, "%s\n  %*s", range, name_width + default_width + 4 + HELP_RANGE_WIDTH, "");
    else
        fprintf(file, "%-*s", HELP_RANGE_WIDTH, range);
    const char *verbs = key->effect == LS_KEY_TRAIN   ? "train: "
                        : key->effect == LS_KEY_STEPS ? "train, bench: "
                                                      : "";
    fprintf(file, "  %s%s%s%s\n", verbs, condition, *condition ? ": " : "", key->help);
}

ls_status ls_keys_print_help(const ls_key_table *table, FILE *file) {
    int name_width = 0, default_width = 0;
    ls_key_table all;
    LS_TRY(ls_keys_unfold(table, &all));
    for (int i = 0; i < all.count; i++) {
        int name = (int)strlen(all.keys[i].name), initial = (int)strlen(shown_default(&all.keys[i]));
        if (name > name_width) name_width = name;
        if (initial > default_width) default_width = initial;
    }
    for (int i = 0; i < all.count; i++) print_key(&all.keys[i], name_width, default_width, file);
    free((void *)all.keys);
    return LS_OK;
}
