/* Writes one JSON value (RFC 8259) as it goes along, indented. `key` is NULL inside an array and for the
 * outermost value. */
#ifndef LOCKSTEP_IO_JSON_H
#define LOCKSTEP_IO_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct ls_json {
    FILE *out;
    int depth;
    bool first; /* nothing yet in the innermost object or array */
} ls_json;

void ls_json_begin(ls_json *json, const char *key, char bracket); /* '{' or '[' */
void ls_json_end(ls_json *json, char bracket);

/* Bytes that are no UTF-8 come out as U+FFFD; NULL as null. */
void ls_json_text(ls_json *json, const char *key, const char *text);
/* Digits enough to read the same number back; what is not finite, for which JSON has no number, comes out as
 * null. */
void ls_json_real(ls_json *json, const char *key, double value);
void ls_json_count(ls_json *json, const char *key, uint64_t value);
/* 16 hexadecimal digits as a string: readers take numbers for doubles. */
void ls_json_hash(ls_json *json, const char *key, uint64_t value);
void ls_json_bool(ls_json *json, const char *key, bool value);
void ls_json_null(ls_json *json, const char *key);

#endif
