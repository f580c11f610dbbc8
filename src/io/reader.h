/* Data sets on disk: a format is a reader class, in a file of its own.
 *
 * A set has parts, to train and to test on; each is images and a label an image (core/dataset.h). A new
 * format is one file, with an ls_reader_class, and a line in readers.c. All is local. */
#ifndef LOCKSTEP_IO_READER_H
#define LOCKSTEP_IO_READER_H

#include <stdbool.h>

#include "core/dataset.h"
#include "core/status.h"

typedef enum ls_data_part { LS_DATA_TRAIN, LS_DATA_TEST, LS_DATA_PARTS } ls_data_part;

/* An open data set. */
typedef struct ls_reader {
    const struct ls_reader_class *class;
    char *path; /* of the set: what was asked for, or what open() has found in it; owned */
    /* Where the images and labels of a part lie, for messages; set by sizes() and read(), owned. NULL: `path`
     * says it all. */
    char *images[LS_DATA_PARTS], *labels[LS_DATA_PARTS];
    void *state; /* the class's own, from open() to close() */
} ls_reader;

/* Failures are LS_BAD_DATA, with file, what was found and what was expected. Nothing that a file says is
 * believed before it is checked; memory is taken only for what the file can hold. */
typedef struct ls_reader_class {
    const char *name; /* of the format, for messages */

    /* Required. Is there a set of this format, whole or not? If not, `miss` gets what was looked for and what
     * came nearest, for a message. Names and first bytes are enough; nothing is allocated. */
    bool (*probe)(const char *path, char *miss, size_t size);
    /* Count, height, width and classes of a part; its images are not read and nothing is left to destroy. */
    ls_status (*sizes)(ls_reader *reader, ls_data_part part, ls_dataset *sizes);
    /* The whole part, which the caller destroys. `classes` is the largest label + 1. Zeroed on failure. */
    ls_status (*read)(ls_reader *reader, ls_data_part part, ls_dataset *set);

    /* Optional. After probe() has said yes; close() follows in any case. */
    ls_status (*open)(ls_reader *reader);
    void (*close)(ls_reader *reader);
} ls_reader_class;

/* Adds a format for this program, before data are read; tried behind those of the library. LS_INTERNAL: there
 * are too many. */
ls_status ls_reader_register(const ls_reader_class *class);

/* The first format that finds a set at `path`. LS_BAD_DATA: none does; the message says what came nearest. */
ls_status ls_reader_open(const char *path, ls_reader **reader);
void ls_reader_close(ls_reader **reader); /* safe twice */

/* As the class's. */
ls_status ls_reader_sizes(ls_reader *reader, ls_data_part part, ls_dataset *sizes);
ls_status ls_reader_read(ls_reader *reader, ls_data_part part, ls_dataset *set);

/* Both parts, which the caller destroys, and whether they belong together: images of one size, and no label
 * of the test set beyond the classes of the training set. Zeroed on failure. */
ls_status ls_reader_read_all(ls_reader *reader, ls_dataset *train, ls_dataset *test);

#endif
