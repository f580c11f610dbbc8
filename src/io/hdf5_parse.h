/* HDF5's parser at work on the bytes of a file: what the confined child does (confined.h), and what nobody
 * else calls. Nothing is believed but what the caller said it expects; failures are LS_BAD_DATA with file and
 * path, LS_INTERNAL for memory of our own. */
#ifndef LOCKSTEP_IO_HDF5_PARSE_H
#define LOCKSTEP_IO_HDF5_PARSE_H

#include "io/hdf5.h"
#include "io/hdf5_convert.h"

/* Bytes that grow as needed; zeros at the start, data freed with free(). */
typedef struct ls_buffer {
    char *data;
    size_t size, capacity;
} ls_buffer;

ls_status ls_buffer_reserve(ls_buffer *buffer, size_t size);

/* Takes over the image, which free() can free; `path` is for messages. Ended by ls_h5_release(). */
ls_status ls_parse_open(const char *path, unsigned char *image, size_t size, ls_h5_file **file);
/* The values of exactly this shape and type; record->data is not looked at. `stored`: NULL, or what HDF5
 * converts to the type and what is compressed is taken too, and it receives how the values are stored. */
ls_status ls_parse_record(const ls_h5_file *file, const ls_record *record, ls_stored *stored,
                          ls_buffer *data);
/* Dimensions, or -1, as ls_h5_shape() says. */
int ls_parse_shape(const ls_h5_file *file, const char *path, int64_t shape[4]);
/* A string of fixed length, with whatever bytes it has and no NUL behind it. */
ls_status ls_parse_text(const ls_h5_file *file, const char *path, ls_buffer *text);
/* A scalar of 8 bytes; *there = 0 if the group has no such attribute. */
ls_status ls_parse_attribute(const ls_h5_file *file, const char *group, const char *name, ls_record_type type,
                             uint64_t *bits, int *there);
/* The names of a group's links, a NUL behind each. */
ls_status ls_parse_names(const ls_h5_file *file, const char *group, ls_buffer *names);
int ls_parse_has(const ls_h5_file *file, const char *path);
/* Reads every value and attribute of fixed size. */
ls_status ls_parse_whole(const ls_h5_file *file);

#endif
