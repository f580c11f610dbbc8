#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "io/hdf5.h"

static void write_string(FILE *out, const char *text) {
    bool utf8 = ls_h5_text_ok(text, strlen(text));
    putc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at == '\n')
            fputs("\\n", out);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else if (*at >= 0x80 && !utf8)
            fputs("\\ufffd", out);
        else
            putc(*at, out);
    }
    putc('"', out);
}

static void start_value(ls_json *json, const char *key) {
    if (json->depth > 0) fprintf(json->out, "%s\n%*s", json->first ? "" : ",", 2 * json->depth, "");
    json->first = false;
    if (!key) return;
    write_string(json->out, key);
    fputs(": ", json->out);
}

void ls_json_begin(ls_json *json, const char *key, char bracket) {
    start_value(json, key);
    putc(bracket, json->out);
    json->depth++;
    json->first = true;
}

void ls_json_end(ls_json *json, char bracket) {
    json->depth--;
    if (!json->first) fprintf(json->out, "\n%*s", 2 * json->depth, "");
    putc(bracket, json->out);
    json->first = false;
    if (json->depth == 0) putc('\n', json->out);
}

void ls_json_text(ls_json *json, const char *key, const char *text) {
    if (!text) {
        ls_json_null(json, key);
        return;
    }
    start_value(json, key);
    write_string(json->out, text);
}

void ls_json_real(ls_json *json, const char *key, double value) {
    if (!isfinite(value)) {
        ls_json_null(json, key);
        return;
    }
    start_value(json, key);
    fprintf(json->out, "%.17g", value);
}

void ls_json_count(ls_json *json, const char *key, uint64_t value) {
    start_value(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void ls_json_hash(ls_json *json, const char *key, uint64_t value) {
    start_value(json, key);
    fprintf(json->out, "\"%016" PRIx64 "\"", value);
}

void ls_json_bool(ls_json *json, const char *key, bool value) {
    start_value(json, key);
    fputs(value ? "true" : "false", json->out);
}

void ls_json_null(ls_json *json, const char *key) {
    start_value(json, key);
    fputs("null", json->out);
}
