/* libyaml's documents, read strictly. Its document API resolves anchors and tags silently, so the text is
 * parsed twice: once as events, where they are still visible and the limits cost nothing to keep, and once as
 * a document. */
#include "io/config_yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_SIZE = 64 };

static void format_position(const ls_yaml *yaml, size_t line, size_t column, char position[LS_POSITION_MAX]) {
    char name[LS_POSITION_MAX - 64];
    ls_key_excerpt(yaml->name, name, sizeof name);
    if (yaml->command_line)
        snprintf(position, LS_POSITION_MAX, "command line: %s", name);
    else
        snprintf(position, LS_POSITION_MAX, "%s:%zu:%zu", name, line, column);
}

void ls_yaml_position(const ls_yaml *yaml, const yaml_node_t *node, char position[LS_POSITION_MAX]) {
    format_position(yaml, node->start_mark.line + 1, node->start_mark.column + 1, position);
}

static ls_status fail_at(const ls_yaml *yaml, size_t line, size_t column, const char *message) {
    char position[LS_POSITION_MAX];
    format_position(yaml, line, column, position);
    return ls_fail(LS_USAGE, "%s: %s", position, message);
}

ls_status ls_yaml_fail(const ls_yaml *yaml, const yaml_node_t *node, const char *format, ...) {
    char message[LS_POSITION_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fail_at(yaml, node->start_mark.line + 1, node->start_mark.column + 1, message);
}

/* Errors of libyaml's reader (encoding, control characters) come with a byte offset, all others with a mark.
 */
static ls_status parser_failure(const ls_yaml *yaml, const yaml_parser_t *parser, const char *text,
                                size_t length) {
    if (parser->error == YAML_MEMORY_ERROR) return ls_fail(LS_INTERNAL, "out of memory for a YAML document");
    const char *problem = parser->problem ? parser->problem : "unknown error";
    size_t line = parser->problem_mark.line + 1, column = parser->problem_mark.column + 1;
    if (parser->error == YAML_READER_ERROR) {
        line = column = 1;
        for (size_t i = 0; i < length && i < parser->problem_offset; i++) {
            column = text[i] == '\n' ? 1 : column + 1;
            line += text[i] == '\n';
        }
    }
    char message[LS_POSITION_MAX];
    if (parser->context)
        snprintf(message, sizeof message, "not valid YAML: %s (%s)", problem, parser->context);
    else
        snprintf(message, sizeof message, "not valid YAML: %s", problem);
    return fail_at(yaml, line, column, message);
}

/* UTF-8 is set rather than detected: a stray FF FE would otherwise turn the rest of a file into UTF-16. */
static ls_status start_parser(yaml_parser_t *parser, const char *text, size_t length) {
    if (!yaml_parser_initialize(parser)) return ls_fail(LS_INTERNAL, "out of memory for a YAML parser");
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)text, length);
    return LS_OK;
}

typedef struct ls_yaml_tally {
    int documents, nodes, depth;
} ls_yaml_tally;

/* What is wrong with an event, or NULL. */
static const char *check_event(const yaml_event_t *event, ls_yaml_tally *tally) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    bool opens = false;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++tally->documents > 1 ? "more than one document: expected one" : NULL;
    case YAML_STREAM_END_EVENT: return tally->documents == 0 ? "empty: expected a map of settings" : NULL;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: tally->depth--; return NULL;
    case YAML_ALIAS_EVENT: return "aliases (*name) are not allowed: write the value out";
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        opens = true;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        opens = true;
        break;
    default: return NULL;
    }
    if (anchor) return "anchors (&name) are not allowed: write the value out where it is needed";
    if (tag) return "tags (!type) are not allowed: the key decides the type";
    if (opens && ++tally->depth > LS_CONFIG_MAX_DEPTH) return "nested deeper than 64 levels";
    if (++tally->nodes > LS_CONFIG_MAX_NODES) return "more than 100000 values";
    return NULL;
}

_Static_assert(LS_CONFIG_MAX_DEPTH == 64 && LS_CONFIG_MAX_NODES == 100000, "the messages name the limits");

static ls_status check_events(const ls_yaml *yaml, const char *text, size_t length) {
    yaml_parser_t parser;
    LS_TRY(start_parser(&parser, text, length));
    ls_yaml_tally tally = {0};
    ls_status status = LS_OK;
    for (bool done = false; !done && status == LS_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parser_failure(yaml, &parser, text, length);
            break;
        }
        const char *wrong = check_event(&event, &tally);
        if (wrong) status = fail_at(yaml, event.start_mark.line + 1, event.start_mark.column + 1, wrong);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* Editors put a mark in front that says how the file is encoded. */
static ls_status pass_over_mark(const ls_yaml *yaml, const char **text, size_t *length) {
    static const char utf8[] = {'\xEF', '\xBB', '\xBF'}, little[] = {'\xFF', '\xFE'},
                      big[] = {'\xFE', '\xFF'};
    if (*length >= 2 && (memcmp(*text, little, 2) == 0 || memcmp(*text, big, 2) == 0))
        return fail_at(yaml, 1, 1, "encoded in UTF-16 or UTF-32: expected UTF-8");
    if (*length < sizeof utf8 || memcmp(*text, utf8, sizeof utf8) != 0) return LS_OK;
    *text += sizeof utf8;
    *length -= sizeof utf8;
    return LS_OK;
}

ls_status ls_yaml_load(ls_yaml *yaml, const char *text, size_t length) {
    if (length > LS_CONFIG_MAX_BYTES) return fail_at(yaml, 1, 1, "larger than 1 MiB");
    if (!yaml->command_line) LS_TRY(pass_over_mark(yaml, &text, &length));
    LS_TRY(check_events(yaml, text, length));
    yaml_parser_t parser;
    LS_TRY(start_parser(&parser, text, length));
    ls_status status = LS_OK;
    if (yaml_parser_load(&parser, &yaml->document))
        yaml->loaded = true;
    else
        status = parser_failure(yaml, &parser, text, length);
    yaml_parser_delete(&parser);
    return status;
}

void ls_yaml_destroy(ls_yaml *yaml) {
    if (yaml->loaded) yaml_document_delete(&yaml->document);
    yaml->loaded = false;
}

yaml_node_t *ls_yaml_root(ls_yaml *yaml) {
    return yaml_document_get_root_node(&yaml->document);
}

yaml_node_t *ls_yaml_node(ls_yaml *yaml, int index) {
    return yaml_document_get_node(&yaml->document, index);
}

static const char *scalar_text(const yaml_node_t *node) {
    return (const char *)node->data.scalar.value;
}

static bool is_plain(const yaml_node_t *node) {
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

bool ls_yaml_is_null(const yaml_node_t *node) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (!is_plain(node)) return false;
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (strcmp(scalar_text(node), nulls[i]) == 0) return true;
    return false;
}

const char *ls_yaml_found(const yaml_node_t *node, char *text, size_t size) {
    if (node->type == YAML_MAPPING_NODE) return "a map";
    if (node->type == YAML_SEQUENCE_NODE) return "a list";
    if (ls_yaml_is_null(node)) return "nothing";
    char excerpt[FOUND_SIZE - 2];
    ls_key_excerpt(scalar_text(node), excerpt, sizeof excerpt);
    snprintf(text, size, "'%s'", excerpt);
    return text;
}

ls_status ls_yaml_name(const ls_yaml *yaml, const yaml_node_t *node, const char *what, const char **name) {
    char found[FOUND_SIZE];
    if (node->type != YAML_SCALAR_NODE || ls_yaml_is_null(node))
        return ls_yaml_fail(yaml, node, "%s: found %s, expected a name", what,
                            ls_yaml_found(node, found, sizeof found));
    if (strlen(scalar_text(node)) != node->data.scalar.length)
        return ls_yaml_fail(yaml, node, "%s: zero byte in a name", what);
    *name = scalar_text(node);
    return LS_OK;
}

/* Room for one value of any type, where texts are checked. */
typedef union ls_any_value {
    bool truth;
    int64_t integer;
    double real;
    char *string;
    int choice;
    ls_int_list list;
} ls_any_value;

ls_status ls_key_canonical(const ls_key *key, const char *text, char *canonical, size_t size) {
    ls_key alone = *key;
    alone.offset = 0;
    ls_any_value value;
    memset(&value, 0, sizeof value);
    LS_TRY(ls_key_set(&alone, &value, text));
    if (canonical) ls_key_format(&alone, &value, canonical, size);
    ls_keys_free(&(ls_key_table){&alone, 1}, &value);
    return LS_OK;
}

/* Checks a text against its key and puts position and prefix in front of the message. */
static ls_status check_text(const ls_yaml *yaml, const yaml_node_t *node, const ls_key *key,
                            const char *prefix, const char *text) {
    ls_status status = ls_key_canonical(key, text, NULL, 0);
    if (status != LS_USAGE) return status;
    char message[LS_POSITION_MAX];
    snprintf(message, sizeof message, "%s", ls_error_message());
    return ls_yaml_fail(yaml, node, "%s%s", prefix, message);
}

static ls_status list_value(ls_yaml *yaml, const yaml_node_t *node, const ls_key *key, const char *prefix,
                            char **text) {
    char found[FOUND_SIZE];
    if (node->type != YAML_SEQUENCE_NODE)
        return ls_yaml_fail(yaml, node, "%s%s: not a list: found %s, expected [..]", prefix, key->name,
                            ls_yaml_found(node, found, sizeof found));
    int count = (int)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > LS_INT_LIST_MAX)
        return ls_yaml_fail(yaml, node, "%s%s: too many numbers: found %d, expected at most %d", prefix,
                            key->name, count, LS_INT_LIST_MAX);
    const ls_key item_key = {.name = key->name, .type = LS_KEY_INT, .min = key->min, .max = key->max};
    char list[LS_INT_LIST_MAX * 24 + 3] = "[";
    size_t at = 1;
    for (int i = 0; i < count; i++) {
        const yaml_node_t *item = ls_yaml_node(yaml, node->data.sequence.items.start[i]);
        if (!is_plain(item))
            return ls_yaml_fail(yaml, item, "%s%s: not an integer: found %s", prefix, key->name,
                                ls_yaml_found(item, found, sizeof found));
        LS_TRY(check_text(yaml, item, &item_key, prefix, scalar_text(item)));
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", scalar_text(item));
    }
    snprintf(list + at, sizeof list - at, "]");
    return ls_strdup(text, list);
}

ls_status ls_yaml_quote(const char *bytes, char **text) {
    size_t at = 0;
    LS_TRY(ls_calloc(text, 4 * strlen(bytes) + 3, 1, "a value of the configuration"));
    (*text)[at++] = '"';
    for (const unsigned char *c = (const unsigned char *)bytes; *c; c++) {
        if (*c < 0x20 || *c == 0x7F) {
            at += (size_t)snprintf(*text + at, 5, "\\x%02X", *c);
            continue;
        }
        if (*c == '"' || *c == '\\') (*text)[at++] = '\\';
        (*text)[at++] = (char)*c;
    }
    (*text)[at] = '"';
    return LS_OK;
}

ls_status ls_yaml_path(const ls_yaml *yaml, const yaml_node_t *node, const char *what, const char *path,
                       char **expanded) {
    const char *home = getenv("HOME");
    char found[FOUND_SIZE];
    if (path[0] != '~') return ls_strdup(expanded, path);
    if (path[1] != '/' && path[1] != '\0')
        return ls_yaml_fail(yaml, node,
                            "%s: found %s; of homes only one's own can be written as ~/: write the "
                            "folder out, or ./ in front of a name that begins with ~",
                            what, ls_yaml_found(node, found, sizeof found));
    if (!home || !*home)
        return ls_yaml_fail(yaml, node, "%s: found %s, but HOME is not set: write the home folder out", what,
                            ls_yaml_found(node, found, sizeof found));
    size_t size = strlen(home) + strlen(path);
    LS_TRY(ls_calloc(expanded, size, 1, "a path"));
    snprintf(*expanded, size, "%s%s", home, path + 1);
    return LS_OK;
}

/* The text of a string, quoted where ls_key_set would otherwise take it for something else. */
static ls_status quoted_text(const ls_yaml *yaml, const ls_key *key, const yaml_node_t *node, char **text) {
    char *path;
    if (!key->path) return ls_key_quote(scalar_text(node), text);
    LS_TRY(ls_yaml_path(yaml, node, key->name, scalar_text(node), &path));
    ls_status status = ls_key_quote(path, text);
    free(path);
    return status;
}

ls_status ls_yaml_value(ls_yaml *yaml, const yaml_node_t *node, const ls_key *key, const char *prefix,
                        char **text) {
    if (key->type == LS_KEY_INT_LIST) return list_value(yaml, node, key, prefix, text);
    char found[FOUND_SIZE];
    if (node->type != YAML_SCALAR_NODE || ls_yaml_is_null(node))
        return ls_yaml_fail(yaml, node, "%s%s: found %s, expected %s", prefix, key->name,
                            ls_yaml_found(node, found, sizeof found),
                            key->type == LS_KEY_STRING ? "text (\"\" for none)" : "one value");
    bool textual = key->type == LS_KEY_STRING || key->type == LS_KEY_CHOICE;
    if (!textual && !is_plain(node))
        return ls_yaml_fail(yaml, node, "%s%s: found the quoted text %s, expected a value without quotes",
                            prefix, key->name, ls_yaml_found(node, found, sizeof found));
    if (strlen(scalar_text(node)) != node->data.scalar.length)
        return ls_yaml_fail(yaml, node, "%s%s: zero byte in text", prefix, key->name);
    char *value = NULL;
    if (key->type == LS_KEY_STRING)
        LS_TRY(quoted_text(yaml, key, node, &value));
    else
        LS_TRY(ls_strdup(&value, scalar_text(node)));
    ls_status status = check_text(yaml, node, key, prefix, value);
    if (status == LS_OK)
        *text = value;
    else
        free(value);
    return status;
}
