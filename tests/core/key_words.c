#include "core/key_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The i-th value to try; false: there are no more. */
static bool candidate(const ls_key *key, int i, char *text, size_t size) {
    static const char *const values[] = {"0.5", "5", "4", "0.25", "2", "[2, 4]", "[3]", "true", "false"};
    if (key->type != LS_KEY_CHOICE) {
        if (i >= (int)(sizeof values / sizeof *values)) return false;
        snprintf(text, size, "%s", values[i]);
        return true;
    }
    const char *at = key->choices;
    for (; i > 0 && *at; i--) {
        at += strcspn(at, "|");
        at += *at == '|';
    }
    snprintf(text, size, "%.*s", (int)strcspn(at, "|"), at);
    return *at;
}

/* A value that the key takes: not its default, or, where it has none, one of two. */
static void find_value(const ls_key_class *class, const ls_key *key, bool second, char *text, size_t size) {
    char usual[LS_KEY_TEXT_MAX] = "", found[LS_KEY_TEXT_MAX];
    void *settings = calloc(1, class->settings_size);
    int skip = !key->initial && second;
    assert_non_null(settings);
    if (key->initial) {
        assert_int_equal(ls_key_set(key, settings, key->initial), LS_OK);
        ls_key_format(key, settings, usual, sizeof usual);
    }
    for (int i = 0;; i++) {
        if (!candidate(key, i, text, size))
            fail_msg("%s: tests/core/key_words.c has no other value for its key %s", class->name, key->name);
        if (ls_key_set(key, settings, text) != LS_OK) continue;
        ls_key_format(key, settings, found, sizeof found);
        if (strcmp(found, usual) != 0 && skip-- == 0) break;
    }
    ls_keys_free(&class->keys, settings);
    free(settings);
}

void key_other_value(const ls_key_class *class, const ls_key *key, char text[KEY_WORD_MAX]) {
    find_value(class, key, true, text, KEY_WORD_MAX);
}

void key_words_of(const ls_key_class *class, int other, key_words *words) {
    words->count = 0;
    for (int k = 0; k < class->keys.count; k++) {
        const ls_key *key = &class->keys.keys[k];
        char value[KEY_WORD_MAX / 2];
        if (k != other && key->initial) continue;
        assert_in_range(words->count, 0, KEY_WORDS - 1);
        find_value(class, key, k == other, value, sizeof value);
        char *text = words->text[words->count];
        assert_in_range(snprintf(text, KEY_WORD_MAX, "%s=%s", key->name, value), 1, KEY_WORD_MAX - 1);
        words->words[words->count++] = text;
    }
}
