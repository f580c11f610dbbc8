/* Values for the keys of any class, so that no test has to be told of a new one. */
#ifndef LOCKSTEP_TESTS_CORE_KEY_WORDS_H
#define LOCKSTEP_TESTS_CORE_KEY_WORDS_H

#include "core/keys.h"

enum { KEY_WORDS = 8, KEY_WORD_MAX = 64 };

/* KEY=VALUE for each key that has no default, and for the key of index `other` another value than its default,
 * or than the one that it has here otherwise. */
typedef struct key_words {
    char text[KEY_WORDS][KEY_WORD_MAX];
    const char *words[KEY_WORDS];
    int count;
} key_words;
/* Another value than its default, or than the one that key_words_of() gives it where it has none. */
void key_other_value(const ls_key_class *class, const ls_key *key, char text[KEY_WORD_MAX]);
/* other: -1 for none. */
void key_words_of(const ls_key_class *class, int other, key_words *words);

#endif
