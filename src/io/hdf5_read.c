/* Reading: the seal first, then what a confined child makes of the bytes (confined.h). */
#include "io/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "io/confined.h"
#include "io/hdf5_convert.h"
#include "io/hdf5_parse.h"
#include "io/seal.h"

/* ---- the bytes ---- */

/* Reads exactly size bytes; 1 if the file ends before, -1 with errno on failure. */
static int read_all(int fd, unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t got = read(fd, data, size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) return 1;
        data += got;
        size -= (size_t)got;
    }
    return 0;
}

static ls_status read_piece(int fd, unsigned char *data, size_t size, const char *path) {
    int result = read_all(fd, data, size);
    if (result < 0) return ls_fail(LS_BAD_DATA, "%s: cannot read: %s", path, strerror(errno));
    return result == 0 ? LS_OK : ls_fail(LS_BAD_DATA, "%s: became shorter while it was read", path);
}

static ls_status size_of(int fd, const char *path, uint64_t *size) {
    struct stat info;
    if (fstat(fd, &info) != 0) return ls_fail(LS_BAD_DATA, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return ls_fail(LS_BAD_DATA, "%s: not a regular file", path);
    *size = (uint64_t)info.st_size;
    if (*size > LS_H5_FILE_LIMIT)
        return ls_fail(LS_BAD_DATA, "%s: found %" PRIu64 " bytes, expected at most %" PRIu64, path, *size,
                       LS_H5_FILE_LIMIT);
    return LS_OK;
}

static ls_status allocate_image(uint64_t size, const char *path, ls_h5_image *image) {
    image->data = malloc((size_t)size);
    if (!image->data) return ls_fail(LS_INTERNAL, "%s: out of memory: %" PRIu64 " bytes", path, size);
    image->size = image->capacity = (size_t)size;
    return LS_OK;
}

/* A file of this kind whose length is not the sealed one, but the one that HDF5 knows: HDF5 has closed it since,
 * as it does not at a cut or a copy that broke off. */
static ls_status explain_length(int fd, const char *path, const char *kind, const unsigned char *head,
                                uint64_t size, ls_status status) {
    unsigned char superblock[48];
    if (size < LS_SEAL_SIZE + sizeof superblock || !ls_seal_is(head, kind) || ls_seal_length(head) == size ||
        read_all(fd, superblock, sizeof superblock) != 0 || ls_h5_end(superblock, sizeof superblock) != size)
        return status;
    return ls_fail(
        status,
        "%s: another program opened it for writing and closed it (h5py with \"r+\" or \"a\"): found "
        "%" PRIu64 " bytes, expected the %" PRIu64 " that were sealed; `lockstep inspect --reseal` "
        "checks what is in it and seals it again",
        path, size, ls_seal_length(head));
}

/* The whole file; its length is believed only after the seal's head has confirmed it. */
static ls_status read_sealed(int fd, const char *path, const char *kind, uint32_t version,
                             ls_h5_image *image) {
    unsigned char head[LS_SEAL_SIZE] = {0};
    uint64_t size = 0;
    LS_TRY(size_of(fd, path, &size));
    if (size >= LS_SEAL_SIZE) LS_TRY(read_piece(fd, head, sizeof head, path));
    ls_status status = ls_seal_check_head(head, size, kind, version, path);
    if (status != LS_OK) return explain_length(fd, path, kind, head, size, status);
    LS_TRY(allocate_image(size, path, image));
    memcpy(image->data, head, sizeof head);
    LS_TRY(read_piece(fd, image->data + sizeof head, (size_t)size - sizeof head, path));
    return ls_seal_check_digest(image->data, image->size, path);
}

/* The whole file, whatever it holds. */
static ls_status read_foreign(int fd, const char *path, ls_h5_image *image) {
    uint64_t size = 0;
    LS_TRY(size_of(fd, path, &size));
    if (size == 0) return ls_fail(LS_BAD_DATA, "%s: found an empty file, expected HDF5", path);
    LS_TRY(allocate_image(size, path, image));
    return read_piece(fd, image->data, (size_t)size, path);
}

static ls_status read_bytes(const char *path, const char *kind, uint32_t version, ls_h5_image *image) {
    /* O_NONBLOCK: a named pipe is refused below instead of waited for. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return ls_fail(LS_BAD_DATA, "%s: cannot open: %s", path, strerror(errno));
    ls_status status = kind ? read_sealed(fd, path, kind, version, image) : read_foreign(fd, path, image);
    if (close(fd) != 0 && errno != EINTR && status == LS_OK)
        status = ls_fail(LS_BAD_DATA, "%s: cannot close: %s", path, strerror(errno));
    return status;
}

ls_status ls_h5_load(const char *path, unsigned char **data, size_t *size) {
    ls_h5_image image = {0};
    ls_status status = read_bytes(path, NULL, 0, &image);
    if (status != LS_OK) free(image.data);
    *data = status == LS_OK ? image.data : NULL;
    *size = image.size;
    return status;
}

/* ---- who parses them ---- */

/* The child, which gets the bytes; they are of no more use here. */
static ls_status hand_over(ls_h5_file *file) {
    ls_question question = {.what = LS_ASK_OPEN, .size = file->image.size};
    ls_answer answer;
    snprintf(question.path, sizeof question.path, "%s", file->path);
    LS_TRY(ls_confined_ask(file->child, &question, file->image.data, &answer));
    free(file->image.data);
    file->image.data = NULL;
    if (!answer.confined)
        ls_log(LS_LOG_WARNING,
               "%s: read without confinement: this system or build has no seccomp; a file made to do harm "
               "could do it",
               file->path);
    return LS_OK;
}

/* Without a child the bytes are parsed here. */
static ls_status parse_here(ls_h5_file **file, const char *reason) {
    ls_h5_file *here = NULL;
    ls_log(LS_LOG_WARNING, "%s: read without a confined process, which could not be started: %s",
           (*file)->path, reason);
    ls_status status = ls_parse_open((*file)->path, (*file)->image.data, (*file)->image.size, &here);
    (*file)->image.data = NULL; /* parse_open() has it */
    ls_h5_release(file);
    *file = here;
    return status;
}

static ls_status open_file(const char *path, const char *kind, uint32_t version, ls_h5_file **file) {
    const char *reason = NULL;
    ls_status status = LS_OK;
    *file = NULL;
    LS_TRY(ls_calloc(file, 1, sizeof **file, "an HDF5 file"));
    LS_TRY_GOTO(status, done, ls_strdup(&(*file)->path, path));
    LS_TRY_GOTO(status, done, read_bytes(path, kind, version, &(*file)->image));
    const ls_limits limits = ls_limits_for((*file)->image.size);
    LS_TRY_GOTO(status, done,
                ls_confined_start(ls_confined_program,
                                  (size_t)(ls_confined_program_end - ls_confined_program), path, &limits,
                                  &(*file)->child, &reason));
    status = reason ? parse_here(file, reason) : hand_over(*file);
done:
    if (status != LS_OK) ls_h5_discard(file);
    return status;
}

ls_status ls_h5_open(const char *path, const char *kind, uint32_t version, ls_h5_file **file) {
    return open_file(path, kind, version, file);
}

ls_status ls_h5_open_foreign(const char *path, ls_h5_file **file) {
    return open_file(path, NULL, 0, file);
}

void ls_h5_discard(ls_h5_file **file) {
    if (*file) ls_confined_end(&(*file)->child);
    ls_h5_release(file);
}

/* ---- questions ---- */

static ls_status question_about(const ls_h5_file *file, ls_ask what, const char *path,
                                ls_question *question) {
    *question = (ls_question){.what = what};
    if (strlen(path) >= sizeof question->path)
        return ls_fail(LS_BAD_DATA, "%s: a name of %zu bytes, expected fewer than %zu", file->path,
                       strlen(path), sizeof question->path);
    memcpy(question->path, path, strlen(path) + 1);
    return LS_OK;
}

static ls_status nonsense(const ls_h5_file *file) {
    return ls_fail(LS_BAD_DATA, "%s: damaged, or made to do harm: its reader speaks nonsense", file->path);
}

static ls_status ask_here(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                          ls_buffer *data) {
    ls_confined_serve(file, question, answer, data);
    return (ls_status)answer->status;
}

/* A question whose answer goes with exactly `size` bytes. */
static ls_status ask(const ls_h5_file *file, const ls_question *question, ls_answer *answer, void *out,
                     uint64_t size) {
    ls_buffer data = {0};
    if (file->child) {
        LS_TRY(ls_confined_ask(file->child, question, NULL, answer));
        return answer->size == size ? ls_confined_receive(file->child, out, (size_t)size) : nonsense(file);
    }
    ls_status status = ask_here(file, question, answer, &data);
    if (status == LS_OK && size > 0) memcpy(out, data.data, (size_t)size);
    free(data.data);
    return status;
}

/* A question whose answer goes with up to `most` bytes; a NUL is put behind them. */
static ls_status ask_for_bytes(const ls_h5_file *file, const ls_question *question, uint64_t most,
                               char **bytes, uint64_t *size) {
    ls_buffer data = {0};
    ls_answer answer;
    *bytes = NULL;
    if (!file->child) {
        ls_status status = ask_here(file, question, &answer, &data);
        if (status == LS_OK) status = ls_buffer_reserve(&data, data.size + 1);
        if (status == LS_OK) {
            data.data[data.size] = '\0';
            *bytes = data.data;
            *size = data.size;
        } else {
            free(data.data);
        }
        return status;
    }
    LS_TRY(ls_confined_ask(file->child, question, NULL, &answer));
    if (answer.size > most) return nonsense(file);
    LS_TRY(ls_calloc(bytes, (size_t)answer.size + 1, 1, "a text"));
    *size = answer.size;
    ls_status status = ls_confined_receive(file->child, *bytes, (size_t)answer.size);
    if (status != LS_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}

/* ---- values ---- */

static ls_status question_about_record(const ls_h5_file *file, ls_ask what, const ls_record *record,
                                       ls_question *question) {
    LS_TRY(question_about(file, what, record->path, question));
    question->type = (int32_t)record->type;
    question->dims = record->dims;
    memcpy(question->shape, record->shape, sizeof question->shape);
    return LS_OK;
}

/* Where the caller expects more than the file has, none: the child says what is there. */
static uint64_t bytes_of_record(const ls_h5_file *file, const ls_record *record) {
    int64_t bytes = ls_h5_bytes_within(file, record->type, record->dims, record->shape);
    return bytes < 0 ? 0 : (uint64_t)bytes;
}

/* All questions are sent at once, and the child works on one while we take the answer to another. */
static ls_status read_from_child(const ls_h5_file *file, ls_record *records, int count) {
    ls_buffer questions = {0};
    ls_question question, all = {.what = LS_ASK_RECORDS};
    ls_answer answer;
    ls_status status = LS_OK;
    for (int i = 0; i < count; i++) {
        LS_TRY_GOTO(status, done, question_about_record(file, LS_ASK_RECORD, &records[i], &question));
        size_t size = ls_question_bytes(&question);
        LS_TRY_GOTO(status, done, ls_buffer_reserve(&questions, questions.size + size));
        memcpy(questions.data + questions.size, &question, size);
        questions.size += size;
    }
    all.size = questions.size;
    LS_TRY_GOTO(status, done, ls_confined_send(file->child, &all, questions.data));
    for (int i = 0; i < count; i++) {
        LS_TRY_GOTO(status, done, ls_confined_answer(file->child, &answer));
        uint64_t size = bytes_of_record(file, &records[i]);
        if (answer.size != size) {
            status = nonsense(file);
            goto done;
        }
        LS_TRY_GOTO(status, done, ls_confined_receive(file->child, records[i].data, (size_t)size));
    }
done:
    free(questions.data);
    return status;
}

ls_status ls_h5_read_records(const ls_h5_file *file, ls_record *records, int count) {
    if (file->child) return read_from_child(file, records, count);
    for (int i = 0; i < count; i++) {
        ls_question question;
        ls_answer answer;
        LS_TRY(question_about_record(file, LS_ASK_RECORD, &records[i], &question));
        LS_TRY(ask(file, &question, &answer, records[i].data, bytes_of_record(file, &records[i])));
    }
    return LS_OK;
}

ls_status ls_h5_read_record(const ls_h5_file *file, ls_record *record) {
    return ls_h5_read_records(file, record, 1);
}

ls_status ls_h5_read_converted(const ls_h5_file *file, ls_record *record, ls_h5_shape_text *found) {
    ls_question question;
    ls_answer answer;
    LS_TRY(question_about_record(file, LS_ASK_CONVERTED, record, &question));
    int64_t bytes = ls_h5_bytes_of(INT64_MAX, ls_h5_type_size(record->type), record->dims, record->shape);
    LS_TRY(ask(file, &question, &answer, record->data, bytes < 0 ? 0 : (uint64_t)bytes));
    const char *stored = ls_h5_stored_name(answer.bits);
    if (!stored) return nonsense(file);
    found->text[0] = '\0';
    if (answer.there || strcmp(stored, ls_h5_type_name(record->type)) != 0)
        snprintf(found->text, sizeof found->text, "%s%s", stored, answer.there ? ", gzip" : "");
    return LS_OK;
}

int ls_h5_shape(const ls_h5_file *file, const char *path, int64_t shape[4]) {
    ls_question question;
    ls_answer answer;
    if (question_about(file, LS_ASK_SHAPE, path, &question) != LS_OK ||
        ask(file, &question, &answer, NULL, 0) != LS_OK || answer.dims < 0 || answer.dims > 4 ||
        ls_h5_bytes_within(file, LS_RECORD_F32, answer.dims, answer.shape) < 0)
        return -1;
    memcpy(shape, answer.shape, sizeof answer.shape);
    return answer.dims;
}

int64_t ls_h5_length(const ls_h5_file *file, const char *path) {
    int64_t shape[4];
    return ls_h5_shape(file, path, shape) == 1 ? shape[0] : -1;
}

ls_status ls_h5_read_text(const ls_h5_file *file, const char *path, char **text) {
    ls_question question;
    uint64_t size;
    *text = NULL;
    LS_TRY(question_about(file, LS_ASK_TEXT, path, &question));
    LS_TRY(ask_for_bytes(file, &question, LS_H5_TEXT_LIMIT, text, &size));
    if (ls_h5_text_ok(*text, (size_t)size)) return LS_OK;
    free(*text);
    *text = NULL;
    return ls_fail(LS_BAD_DATA, "%s: %s: found control characters or broken UTF-8, expected plain text",
                   file->path, path);
}

/* `there` NULL: it must be. */
static ls_status read_attribute(const ls_h5_file *file, const char *group, const char *name,
                                ls_record_type type, void *value, int *there) {
    ls_question question;
    ls_answer answer;
    LS_TRY(question_about(file, LS_ASK_ATTRIBUTE, group, &question));
    snprintf(question.name, sizeof question.name, "%s", name);
    question.type = (int32_t)type;
    LS_TRY(ask(file, &question, &answer, NULL, 0));
    if (!there && !answer.there)
        return ls_fail(LS_BAD_DATA, "%s: %s: found no attribute %s", file->path, group, name);
    if (there) *there = answer.there != 0;
    memcpy(value, &answer.bits, sizeof answer.bits);
    return LS_OK;
}

ls_status ls_h5_read_u64(const ls_h5_file *file, const char *group, const char *name, uint64_t limit,
                         uint64_t *value) {
    LS_TRY(read_attribute(file, group, name, LS_RECORD_U64, value, NULL));
    if (*value <= limit) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: %s: attribute %s: found %" PRIu64 ", expected at most %" PRIu64,
                   file->path, group, name, *value, limit);
}

ls_status ls_h5_read_f64(const ls_h5_file *file, const char *group, const char *name, double *value,
                         int *there) {
    return read_attribute(file, group, name, LS_RECORD_F64, value, there);
}

/* ---- what is there ---- */

ls_status ls_h5_visit_names(const ls_h5_file *file, const char *group,
                            ls_status (*visit)(void *client, const char *name), void *client) {
    ls_question question;
    char *names;
    uint64_t size;
    LS_TRY(question_about(file, LS_ASK_NAMES, group, &question));
    LS_TRY(ask_for_bytes(file, &question, file->image.size, &names, &size));
    ls_status status = LS_OK;
    for (uint64_t at = 0; at < size && status == LS_OK; at += strlen(names + at) + 1)
        status = visit(client, names + at);
    free(names);
    return status;
}

ls_status ls_h5_has(const ls_h5_file *file, const char *path, int *there) {
    ls_question question;
    ls_answer answer;
    LS_TRY(question_about(file, LS_ASK_HAS, path, &question));
    LS_TRY(ask(file, &question, &answer, NULL, 0));
    *there = answer.there != 0;
    return LS_OK;
}

ls_status ls_h5_check_whole(const ls_h5_file *file) {
    ls_question question;
    ls_answer answer;
    LS_TRY(question_about(file, LS_ASK_WHOLE, "", &question));
    return ask(file, &question, &answer, NULL, 0);
}
