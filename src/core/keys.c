/* Tables of named settings. The grammar of numbers is checked by hand before strtoll and strtod see them:
 * those also take leading blanks, "0x1p3", "nan" and "inf", which a configuration must not contain. */
#include "core/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_SIZE = 72, NUMBER_SIZE = 40, EXPECTED_SIZE = 400, NAME_MAX_COMPARED = 63 };

const ls_key *ls_key_find(const ls_key_table *table, const char *name) {
    for (int i = 0; i < table->count; i++)
        if (strcmp(table->keys[i].name, name) == 0) return &table->keys[i];
    return NULL;
}

static int minimum(int a, int b) {
    return a < b ? a : b;
}

int ls_edit_distance(const char *a, const char *b) {
    int rows = (int)strnlen(a, NAME_MAX_COMPARED + 1), columns = (int)strnlen(b, NAME_MAX_COMPARED + 1);
    if (rows > NAME_MAX_COMPARED || columns > NAME_MAX_COMPARED) return NAME_MAX_COMPARED;
    int rolling[3][NAME_MAX_COMPARED + 1]; /* the rows i-2, i-1 and i of the distance matrix */
    for (int j = 0; j <= columns; j++) rolling[0][j] = j;
    for (int i = 1; i <= rows; i++) {
        int *now = rolling[i % 3], *above = rolling[(i + 2) % 3], *above2 = rolling[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= columns; j++) {
            now[j] = minimum(minimum(above[j], now[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = minimum(now[j], above2[j - 2] + 1);
        }
    }
    return rolling[rows % 3][columns];
}

static int distance_of(const char *typed, const char *name) {
    return ls_is_synonym(typed, name) ? 0 : ls_edit_distance(typed, name);
}

const char *ls_name_nearer(const char *typed, const char *best, const char *candidate) {
    /* A distance as long as the word itself says nothing: "xy" is not a misspelt "lr". */
    int limit = minimum(2, (int)strnlen(typed, 3) - 1);
    int distance = distance_of(typed, candidate);
    if (distance > limit || (best && distance_of(typed, best) <= distance)) return best;
    return candidate;
}

const char *ls_key_nearest(const ls_key_table *table, const char *name) {
    const char *best = NULL;
    for (int i = 0; i < table->count; i++) best = ls_name_nearer(name, best, table->keys[i].name);
    return best;
}

/* The shortest of the decimal forms that reads back to the same double. An exponent gets a decimal point in
 * front, since YAML 1.1 readers take 1e-08 for text and 1.0e-08 for a number. */
static void format_real(double value, char text[NUMBER_SIZE]) {
    if (floor(value) == value && fabs(value) < 1e16) {
        snprintf(text, NUMBER_SIZE, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    char *exponent = strchr(text, 'e');
    if (exponent && !strchr(text, '.')) {
        memmove(exponent + 2, exponent, strlen(exponent) + 1);
        memcpy(exponent, ".0", 2);
    }
}

/* A bound of a range. Open bounds are written in a table as the neighbouring double (LS_KEY_BELOW_ONE). */
static bool format_bound(ls_key_type type, double bound, char text[NUMBER_SIZE]) {
    bool open = false;
    if (type == LS_KEY_REAL && bound == LS_KEY_ABOVE_ZERO) {
        bound = 0;
        open = true;
    } else if (type == LS_KEY_REAL && bound == LS_KEY_BELOW_ONE) {
        bound = 1;
        open = true;
    }
    format_real(bound, text);
    return open;
}

/* The i-th choice and its length, or NULL. */
static const char *choice_of(const ls_key *key, int i, size_t *length) {
    if (key->classes) {
        if (i >= key->classes->count) return NULL;
        *length = strlen(key->classes->list[i]->name);
        return key->classes->list[i]->name;
    }
    const char *choice = key->choices;
    for (; choice && i > 0; i--) choice = strchr(choice, '|') ? strchr(choice, '|') + 1 : NULL;
    if (choice) *length = strcspn(choice, "|");
    return choice;
}

/* "sgd|momentum|adam" */
static const char *format_choices(const ls_key *key, char *text, size_t size) {
    const char *choice;
    size_t length, at = 0;
    *text = '\0';
    for (int i = 0; (choice = choice_of(key, i, &length)) && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%.*s", i ? "|" : "", (int)length, choice);
    return text;
}

/* "an integer from 1 to 256", "a number above 0 and below 1": what a message says was expected. */
static void format_expected(const ls_key *key, char *text, size_t size) {
    char min[NUMBER_SIZE], max[NUMBER_SIZE], choices[EXPECTED_SIZE - 16];
    bool above = format_bound(key->type, key->min, min), below = format_bound(key->type, key->max, max);
    switch (key->type) {
    case LS_KEY_BOOL: snprintf(text, size, "true or false"); return;
    case LS_KEY_STRING:
        snprintf(text, size, "text of at most %d bytes without control characters", LS_STRING_MAX);
        return;
    case LS_KEY_CHOICE:
        snprintf(text, size, "one of %s", format_choices(key, choices, sizeof choices));
        return;
    case LS_KEY_LAYERS: snprintf(text, size, "a list of layers"); return;
    case LS_KEY_INT:
    case LS_KEY_REAL:
    case LS_KEY_INT_LIST: break;
    }
    const char *what = key->type == LS_KEY_INT ? "an integer" : "a number";
    char list[48], from[NUMBER_SIZE + 8] = "", to[NUMBER_SIZE + 12] = "";
    snprintf(list, sizeof list, "a list [..] of at most %d integers", LS_INT_LIST_MAX);
    if (isfinite(key->min)) snprintf(from, sizeof from, " %s %s", above ? "above" : "from", min);
    if (isfinite(key->max)) snprintf(to, sizeof to, " %s %s", below ? "and below" : "to", max);
    snprintf(text, size, "%s%s%s", key->type == LS_KEY_INT_LIST ? list : what, from, to);
}

void ls_key_format_range(const ls_key *key, char *text, size_t size) {
    char min[NUMBER_SIZE], max[NUMBER_SIZE];
    bool above = format_bound(key->type, key->min, min), below = format_bound(key->type, key->max, max);
    switch (key->type) {
    case LS_KEY_BOOL: snprintf(text, size, "true|false"); break;
    case LS_KEY_STRING: snprintf(text, size, "text"); break;
    case LS_KEY_CHOICE: format_choices(key, text, size); break;
    case LS_KEY_INT:
    case LS_KEY_REAL:
        snprintf(text, size, "%s%s .. %s%s", above ? ">" : "", min, below ? "<" : "", max);
        break;
    case LS_KEY_INT_LIST: snprintf(text, size, "list of %s .. %s", min, max); break;
    case LS_KEY_LAYERS: snprintf(text, size, "list of layers"); break;
    }
}

void ls_key_excerpt(const char *text, char *excerpt, size_t size) {
    size_t length = strlen(text), kept = length;
    if (length >= size) {
        kept = size - 3;
        while (kept > 0 && ((unsigned char)text[kept] & 0xC0) == 0x80)
            kept--; /* not inside a UTF-8 character */
    }
    for (size_t i = 0; i < kept; i++)
        excerpt[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    snprintf(excerpt + kept, size - kept, "%s", kept < length ? ".." : "");
}

static ls_status refuse(const ls_key *key, const char *wrong, const char *text) {
    char found[FOUND_SIZE], expected[EXPECTED_SIZE];
    ls_key_excerpt(text, found, sizeof found);
    format_expected(key, expected, sizeof expected);
    return ls_fail(LS_USAGE, "%s: %s: found '%s', expected %s", key->name, wrong, found, expected);
}

static const char *skip_digits(const char *text) {
    while (*text >= '0' && *text <= '9') text++;
    return text;
}

/* Decimal, without "+" and without leading zeros, which YAML 1.1 reads as octal. */
static bool is_integer(const char *text) {
    if (*text == '-') text++;
    const char *end = skip_digits(text);
    return end > text && *end == '\0' && (*text != '0' || end == text + 1);
}

/* 1, -1.5, .5, 1., 1e-8 */
static bool is_real(const char *text) {
    if (*text == '-' || *text == '+') text++;
    const char *whole = skip_digits(text), *end = whole;
    bool digits = whole > text;
    if (*end == '.') {
        end = skip_digits(whole + 1);
        digits = digits || end > whole + 1;
    }
    if (!digits) return false;
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1;
        if (*exponent == '-' || *exponent == '+') exponent++;
        end = skip_digits(exponent);
        if (end == exponent) return false;
    }
    return *end == '\0';
}

/* Compared as integers: as doubles, 2^53 + 1 would not exceed 2^53. */
static bool int_in_range(const ls_key *key, long long value) {
    if (key->min >= -0x1p63 && value < (long long)ceil(key->min)) return false;
    return !(key->max < 0x1p63 && value > (long long)floor(key->max));
}

static ls_status parse_int(const ls_key *key, const char *text, const char *number, int64_t *value) {
    if (!is_integer(number)) return refuse(key, "not an integer", text);
    char *end;
    errno = 0;
    long long parsed = strtoll(number, &end, 10);
    if (errno != 0 || *end != '\0' || !int_in_range(key, parsed)) return refuse(key, "out of range", text);
    *value = parsed;
    return LS_OK;
}

static ls_status parse_real(const ls_key *key, const char *text, double *value) {
    if (!is_real(text)) return refuse(key, "not a number", text);
    char *end;
    errno = 0;
    double parsed = strtod(text, &end);
    /* ERANGE is also underflow: a number that cannot be kept is refused rather than rounded to 0. */
    if (errno != 0 || *end != '\0' || !(parsed >= key->min && parsed <= key->max))
        return refuse(key, "out of range", text);
    *value = parsed;
    return LS_OK;
}

static ls_status parse_choice(const ls_key *key, const char *text, int *value) {
    const char *choice;
    size_t length;
    for (int i = 0; (choice = choice_of(key, i, &length)); i++) {
        if (length != strlen(text) || memcmp(choice, text, length) != 0) continue;
        *value = i;
        return LS_OK;
    }
    return refuse(key, "unknown choice", text);
}

static ls_status parse_list(const ls_key *key, const char *text, ls_int_list *value) {
    ls_int_list list = {0};
    const char *at = text;
    if (*at++ != '[') return refuse(key, "not a list", text);
    at += strspn(at, " ");
    while (*at != ']') {
        char number[NUMBER_SIZE];
        size_t length = strcspn(at, ",] ");
        if (length >= sizeof number) return refuse(key, "not an integer", text);
        memcpy(number, at, length);
        number[length] = '\0';
        if (list.count == LS_INT_LIST_MAX) return refuse(key, "too many numbers", text);
        LS_TRY(parse_int(key, text, number, &list.value[list.count++]));
        at += length + strspn(at + length, " ");
        if (*at == ',')
            at += 1 + strspn(at + 1, " ");
        else if (*at != ']')
            return refuse(key, "not a list", text);
    }
    if (at[1] != '\0') return refuse(key, "text after the list", text);
    *value = list;
    return LS_OK;
}

/* Copies the text into `out`, without the quotes and escapes of a quoted one. Returns what is wrong, or NULL.
 */
static const char *decode_string(const char *text, char *out) {
    bool quoted = text[0] == '"';
    size_t length = 0;
    const char *at = text + quoted;
    for (; *at && !(quoted && *at == '"'); at++) {
        if (quoted && *at == '\\') {
            at++;
            if (*at != '"' && *at != '\\') return "unknown escape";
        }
        if ((unsigned char)*at < 0x20 || *at == 0x7F) return "control character in text";
        out[length++] = *at;
    }
    if (quoted && (*at != '"' || at[1] != '\0')) return "closing quote missing or not at the end";
    return length > LS_STRING_MAX ? "text too long" : NULL;
}

static ls_status parse_string(const ls_key *key, const char *text, char **value) {
    char *decoded;
    LS_TRY(ls_calloc(&decoded, strlen(text) + 1, 1, "a string of the configuration"));
    const char *wrong = decode_string(text, decoded);
    if (wrong) {
        free(decoded);
        return refuse(key, wrong, text);
    }
    free(*value);
    *value = decoded;
    return LS_OK;
}

static void *member(const ls_key *key, void *settings) {
    return (char *)settings + key->offset;
}

ls_status ls_key_set(const ls_key *key, void *settings, const char *text) {
    switch (key->type) {
    case LS_KEY_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return refuse(key, "not a truth value", text);
        *(bool *)member(key, settings) = text[0] == 't';
        return LS_OK;
    case LS_KEY_INT: return parse_int(key, text, text, member(key, settings));
    case LS_KEY_REAL: return parse_real(key, text, member(key, settings));
    case LS_KEY_STRING: return parse_string(key, text, member(key, settings));
    case LS_KEY_CHOICE: return parse_choice(key, text, member(key, settings));
    case LS_KEY_INT_LIST: return parse_list(key, text, member(key, settings));
    case LS_KEY_LAYERS: return LS_OK;
    }
    return ls_fail(LS_INTERNAL, "%s: unknown type of key", key->name);
}

ls_status ls_keys_set_defaults(const ls_key_table *table, void *settings) {
    for (int i = 0; i < table->count; i++)
        if (table->keys[i].initial) LS_TRY(ls_key_set(&table->keys[i], settings, table->keys[i].initial));
    return LS_OK;
}

static ls_status take_word(const ls_key *key, void *settings, const char *value) {
    char why[1024], *quoted = NULL;
    if (key->type == LS_KEY_STRING) LS_TRY(ls_key_quote(value, &quoted));
    ls_status status = ls_key_set(key, settings, quoted ? quoted : value);
    free(quoted);
    if (status != LS_USAGE) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    return ls_fail(LS_USAGE, "command line: %s", why);
}

/* Has one of the words before it the same key, `length` bytes of the word? */
static bool is_repeated(const char *const *words, int index, size_t length) {
    for (int i = 0; i < index; i++)
        if (strncmp(words[i], words[index], length + 1) == 0) return true;
    return false;
}

ls_status ls_keys_take(const ls_key_table *table, void *settings, const char *const *words, int count,
                       const char **rest, int *rest_count) {
    *rest_count = 0;
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(words[i], '=');
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(equals ? equals - words[i] : 0), words[i]);
        const ls_key *key = ls_key_find(table, name);
        if (!key) {
            rest[(*rest_count)++] = words[i];
            continue;
        }
        if (is_repeated(words, i, (size_t)(equals - words[i])))
            return ls_fail(LS_USAGE, "command line: %s: given twice", name);
        LS_TRY(take_word(key, settings, equals + 1));
    }
    return LS_OK;
}

void ls_keys_free(const ls_key_table *table, void *settings) {
    for (int i = 0; i < table->count; i++) {
        if (table->keys[i].type != LS_KEY_STRING) continue;
        char **text = member(&table->keys[i], settings);
        free(*text);
        *text = NULL;
    }
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Plain only where no YAML reader, of 1.1 or 1.2, could take it for anything but text. */
static bool needs_quotes(const char *text) {
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    if (!is_letter(text[0]) && text[0] != '/') return true;
    for (const char *c = text; *c; c++)
        if (!is_letter(*c) && !(*c >= '0' && *c <= '9') && !strchr("_./-", *c)) return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *word = words[i], *c = text;
        while (*word && (*c | 0x20) == *word) word++, c++;
        if (!*word && !*c) return true;
    }
    return false;
}

static void format_string(const char *value, char *text, size_t size) {
    if (!value) value = "";
    if (!needs_quotes(value)) {
        snprintf(text, size, "%s", value);
        return;
    }
    size_t at = 0;
    if (at + 1 < size) text[at++] = '"';
    for (; *value; value++) {
        if ((*value == '"' || *value == '\\') && at + 1 < size) text[at++] = '\\';
        if (at + 1 < size) text[at++] = *value;
    }
    if (at + 1 < size) text[at++] = '"';
    text[at] = '\0';
}

ls_status ls_key_quote(const char *bytes, char **text) {
    size_t size = 2 * strlen(bytes) + 3;
    LS_TRY(ls_calloc(text, size, 1, "a string of the configuration"));
    format_string(bytes, *text, size);
    return LS_OK;
}

static void format_list(const ls_int_list *list, char *text, size_t size) {
    size_t at = 0;
    snprintf(text, size, "[");
    for (int i = 0; i < list->count; i++) {
        at += strlen(text + at);
        snprintf(text + at, size - at, "%s%" PRId64, i > 0 ? ", " : "", list->value[i]);
    }
    at += strlen(text + at);
    snprintf(text + at, size - at, "]");
}

void ls_key_format(const ls_key *key, const void *settings, char *text, size_t size) {
    const void *value = (const char *)settings + key->offset;
    char number[NUMBER_SIZE];
    if (size == 0) return;
    switch (key->type) {
    case LS_KEY_BOOL: snprintf(text, size, "%s", *(const bool *)value ? "true" : "false"); return;
    case LS_KEY_INT: snprintf(text, size, "%" PRId64, *(const int64_t *)value); return;
    case LS_KEY_REAL:
        format_real(*(const double *)value, number);
        snprintf(text, size, "%s", number);
        return;
    case LS_KEY_STRING: format_string(*(char *const *)value, text, size); return;
    case LS_KEY_INT_LIST: format_list(value, text, size); return;
    case LS_KEY_LAYERS: snprintf(text, size, "[..]"); return;
    case LS_KEY_CHOICE: break;
    }
    size_t length = 0;
    const char *choice = choice_of(key, *(const int *)value, &length);
    snprintf(text, size, "%.*s", (int)length, choice ? choice : "");
}
