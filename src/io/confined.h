/* A child process that parses one file and has nothing else: no file but the socket to us, no network, no way
 * to start a process, a limit on memory and on time. Whatever a file makes HDF5 do, it does it there.
 *
 * The child is a small program of its own, carried inside this library and started from memory, so that there
 * is nothing to find, to install or to mismatch. It is started without a copy of this process (vfork and
 * exec), which MPI, its registered memory, threads and sanitizers do not mind. Before its first call of HDF5
 * it closes all that it inherited, limits itself (setrlimit) and lets the kernel refuse every system call but
 * a few (seccomp). Then we send the file's bytes, and it answers questions until we close the socket.
 *
 * Where the child cannot be started, or cannot confine itself, a warning says so and the file is read all the
 * same. */
#ifndef LOCKSTEP_IO_CONFINED_H
#define LOCKSTEP_IO_CONFINED_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "io/record.h"

typedef struct ls_h5_file ls_h5_file;
typedef struct ls_buffer ls_buffer;

/* ---- what is said: one ls_question, one ls_answer with `size` bytes behind it ---- */

typedef enum ls_ask {
    LS_ASK_OPEN,      /* `size` bytes of the file follow; path: for messages */
    LS_ASK_RECORD,    /* path, type, dims, shape; answered with the values */
    LS_ASK_RECORDS,   /* `size` bytes of questions follow (ls_question_bytes()), each answered in turn as
                         LS_ASK_RECORD, up to the first that fails */
    LS_ASK_CONVERTED, /* likewise; bits: as what they are stored (hdf5_convert.h), there: compressed */
    LS_ASK_SHAPE,     /* path; dims, shape */
    LS_ASK_TEXT,      /* path; the text */
    LS_ASK_ATTRIBUTE, /* path, name, type; there, bits */
    LS_ASK_NAMES,     /* path; names, a NUL behind each */
    LS_ASK_HAS,       /* path; there */
    LS_ASK_WHOLE,     /* everything is read */
    LS_ASKS           /* of tests, from here on */
} ls_ask;

typedef struct ls_question {
    int32_t what, type, dims, zero;
    int64_t shape[4];
    uint64_t size;
    char name[64], path[4096];
} ls_question;

typedef struct ls_answer {
    int32_t status; /* ls_status; unless LS_OK, the bytes that follow are the message */
    int32_t dims, there, confined;
    int64_t shape[4];
    uint64_t bits, size;
} ls_answer;

/* Bytes of a question among others: the path ends it. */
size_t ls_question_bytes(const ls_question *question);

/* Answers a question about the file: in the child, or here where there is none. `data` receives the bytes
 * that go with the answer. */
void ls_confined_serve(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                       ls_buffer *data);

/* ---- the child ---- */

typedef struct ls_confined ls_confined;

typedef struct ls_limits {
    uint64_t memory;      /* bytes of address space */
    unsigned cpu_seconds; /* of processor time */
    unsigned patience;    /* seconds of silence, while we ourselves run */
} ls_limits;

/* The program, as it is carried inside the library. */
extern const unsigned char ls_confined_program[], ls_confined_program_end[];

/* What a file of so many bytes may use. */
ls_limits ls_limits_for(uint64_t size);

/* Starts the child with these bytes as its program. *child = NULL with a reason in errno's words where
 * processes cannot be started so. LS_INTERNAL: out of memory. */
ls_status ls_confined_start(const void *program, size_t size, const char *path, const ls_limits *limits,
                            ls_confined **child, const char **reason);
/* Sends the question and `question->size` bytes. */
ls_status ls_confined_send(ls_confined *child, const ls_question *question, const void *bytes);
/* Receives the next answer without its bytes; those must be received next. An answer other than LS_OK becomes
 * LS_BAD_DATA or LS_INTERNAL with the child's message. A child that crashed, reached a limit or fell silent is
 * LS_BAD_DATA: file and reason; ever after too. */
ls_status ls_confined_answer(ls_confined *child, ls_answer *answer);
ls_status ls_confined_receive(ls_confined *child, void *data, size_t size);
/* A question and its answer. */
ls_status ls_confined_ask(ls_confined *child, const ls_question *question, const void *bytes,
                          ls_answer *answer);
/* Ends the child, whatever it does. NULL inside and twice are fine. */
void ls_confined_end(ls_confined **child);

#endif
