/* The answers, from HDF5's parser. */
#include "io/confined.h"

#include <stddef.h>
#include <string.h>

#include "io/hdf5_parse.h"

static ls_status serve(const ls_h5_file *file, const ls_question *q, ls_answer *a, ls_buffer *data) {
    ls_record record = {.path = q->path, .type = (ls_record_type)q->type, .dims = q->dims};
    memcpy(record.shape, q->shape, sizeof record.shape);
    switch ((ls_ask)q->what) {
    case LS_ASK_RECORD: return ls_parse_record(file, &record, NULL, data);
    case LS_ASK_CONVERTED: {
        ls_stored stored = {0};
        ls_status status = ls_parse_record(file, &record, &stored, data);
        a->bits = (uint64_t)stored.type;
        a->there = stored.compressed;
        return status;
    }
    case LS_ASK_SHAPE: a->dims = ls_parse_shape(file, q->path, a->shape); return LS_OK;
    case LS_ASK_TEXT: return ls_parse_text(file, q->path, data);
    case LS_ASK_ATTRIBUTE:
        return ls_parse_attribute(file, q->path, q->name, record.type, &a->bits, &a->there);
    case LS_ASK_NAMES: return ls_parse_names(file, q->path, data);
    case LS_ASK_HAS: a->there = ls_parse_has(file, q->path); return LS_OK;
    case LS_ASK_WHOLE: return ls_parse_whole(file);
    case LS_ASK_RECORDS:
    case LS_ASK_OPEN:
    case LS_ASKS: break;
    }
    return ls_fail(LS_INTERNAL, "%s: asked for what there is not (%d)", file->path, (int)q->what);
}

size_t ls_question_bytes(const ls_question *question) {
    return offsetof(ls_question, path) + strlen(question->path) + 1;
}

void ls_confined_serve(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                       ls_buffer *data) {
    *answer = (ls_answer){0};
    data->size = 0;
    answer->status = (int32_t)serve(file, question, answer, data);
    answer->size = answer->status == LS_OK ? data->size : 0;
}
