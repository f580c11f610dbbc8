/* `lockstep export`: a checkpoint's model as a safetensors file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "exchange/exchange.h"
#include "inspect/saved_model.h"
#include "io/atomic_file.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors holds little-endian values"
#endif

enum { HEADER_LENGTH = 8, ALIGNMENT = 8 };

static const char prefix[] = "model/";

/* The records of the model group come first, and there are no others before the optimizer's. */
static int model_records(const ls_state *state) {
    int count = 0;
    while (count < state->count && strncmp(state->records[count].path, prefix, sizeof prefix - 1) == 0)
        count++;
    return count;
}

/* Where each tensor's values begin: those of 8 bytes first, so that all are aligned. Returns the end. */
static size_t lay_out(const ls_record *records, int count, size_t *begin) {
    size_t at = 0;
    for (int wide = 1; wide >= 0; wide--) {
        for (int i = 0; i < count; i++) {
            if ((records[i].type != LS_RECORD_F32) != wide) continue;
            begin[i] = at;
            at += ls_record_bytes(&records[i]);
        }
    }
    return at;
}

static const char *type_name(ls_record_type type) {
    static const char *const names[] = {"F32", "F64", "I64", "U64"};
    return names[type];
}

/* Names of layers are letters, digits, dots, _ and -: nothing to escape. The metadata are what transformers
 * asks for, and where the tensors come from. */
static void print_header(FILE *json, const ls_saved_model *model, const size_t *begin, int count) {
    fprintf(json,
            "{\"__metadata__\":{\"format\":\"pt\",\"step\":\"%" PRIu64 "\",\"fingerprint\":\"%016" PRIx64
            "\"}",
            model->mark->step, model->mark->fingerprint);
    for (int i = 0; i < count; i++) {
        const ls_record *record = &model->state.records[i];
        fprintf(json, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", record->path + sizeof prefix - 1,
                type_name(record->type));
        for (int d = 0; d < record->dims; d++)
            fprintf(json, "%s%" PRId64, d > 0 ? "," : "", record->shape[d]);
        fprintf(json, "],\"data_offsets\":[%zu,%zu]}", begin[i], begin[i] + ls_record_bytes(record));
    }
    fputc('}', json);
    while (ftell(json) % ALIGNMENT != 0) fputc(' ', json);
}

/* The file in memory. */
static ls_status build(const ls_saved_model *model, char **file, size_t *size) {
    const ls_record *records = model->state.records;
    int count = model_records(&model->state);
    char *header = NULL, *bytes;
    size_t *begin, length = 0;
    LS_TRY(ls_calloc(&begin, (size_t)count, sizeof *begin, "an export"));
    size_t end = lay_out(records, count, begin);
    FILE *json = open_memstream(&header, &length);
    if (json) print_header(json, model, begin, count);
    bool failed = !json || ferror(json);
    if (json && fclose(json) != 0) failed = true;
    ls_status status = failed ? ls_fail(LS_INTERNAL, "out of memory for an export") : LS_OK;
    if (status == LS_OK) status = ls_calloc(&bytes, HEADER_LENGTH + length + end, 1, "an export");
    if (status == LS_OK) {
        uint64_t stored = length;
        memcpy(bytes, &stored, HEADER_LENGTH);
        memcpy(bytes + HEADER_LENGTH, header, length);
        for (int i = 0; i < count; i++)
            memcpy(bytes + HEADER_LENGTH + length + begin[i], records[i].data, ls_record_bytes(&records[i]));
        *file = bytes;
        *size = HEADER_LENGTH + length + end;
    }
    free(header);
    free(begin);
    return status;
}

ls_status ls_export(const char *checkpoint, const char *format, const ls_output *output, FILE *out) {
    const char *path = output->path;
    ls_saved_model *model;
    char *file = NULL;
    size_t size = 0;
    if (format && strcmp(format, "safetensors") != 0)
        return ls_fail(LS_USAGE, "export: found the format %s; expected safetensors", format);
    LS_TRY(ls_output_check(output, NULL));
    LS_TRY(ls_saved_model_open(checkpoint, &model));
    ls_status status = build(model, &file, &size);
    if (status == LS_OK) status = ls_atomic_write(path, file, size, LS_EDITABLE);
    if (status == LS_OK)
        fprintf(out, "%s: %d tensors of step %" PRIu64 ", fingerprint %016" PRIx64 ", %zu bytes\n", path,
                model_records(&model->state), model->mark->step, model->mark->fingerprint, size);
    free(file);
    ls_saved_model_destroy(&model);
    return status;
}
