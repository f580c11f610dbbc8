/* HDF5 files, the part that checkpoints and metrics share.
 *
 * HDF5 never touches the disk here: a file is built in memory and written by ls_atomic_write(), and a file is
 * read into memory whole, verified against its seal, and parsed there. So what was verified is what is
 * parsed, a full disk is met by our own checked write() and not inside H5Fclose() (which cannot be repeated
 * and leaves the file open), and no HDF5 file lock is ever taken. The price is one copy of the file in memory
 * while it is open.
 *
 * HDF5 does not survive every file that somebody made to break it, and a seal can be computed by anyone. So
 * no file is parsed in this process: a child of its own, confined before the first call of HDF5, parses it
 * and hands over plain values (confined.h).
 *
 * Written: format bounds V110 (checksummed metadata), no object times, links in creation order, arrays
 * chunked with Fletcher32, strings of fixed length only. Read: hard links only, exact types and shapes, no
 * filter but Fletcher32, no external or virtual storage, no plug-ins, no size believed that exceeds the
 * file's. Only the tensors of an import may be stored in other ways, which the child converts (hdf5_convert.h).
 *
 * What remains: HDF5 does not survive that its own small allocations fail while it writes. It may then refuse
 * to work from there on, or end the process. Files on disk are as they were all the same, since none is begun
 * before HDF5 is done.
 *
 * HDF5 serial is not thread-safe: one thread at a time calls into this header. All functions are local. */
#ifndef LOCKSTEP_IO_HDF5_H
#define LOCKSTEP_IO_HDF5_H

#include <stddef.h>
#include <stdint.h>

#include <hdf5.h>

#include "core/status.h"
#include "io/record.h"

/* Largest file that is written or read: 4 GiB. */
#define LS_H5_FILE_LIMIT ((uint64_t)4 << 30)
/* Longest text (the configuration, a list of names): 1 MiB. */
#define LS_H5_TEXT_LIMIT ((size_t)1 << 20)

/* Most links of a group that is listed. */
enum { LS_H5_LINK_LIMIT = 1 << 16 };

/* The bytes of a file in memory, behind HDF5's "core" driver. */
typedef struct ls_h5_image {
    unsigned char *data;
    size_t size, capacity;
    unsigned char *spare; /* writing: where the data move to when the capacity is exceeded */
    size_t spare_capacity;
} ls_h5_image;

/* An open file, to write or to read. The address must not change while it is open: HDF5 keeps it. Of a file
 * that is read, image.size is the file's length; its bytes are in the child, which parses them. */
typedef struct ls_h5_file {
    hid_t id;
    char *path; /* for messages, and where commit writes */
    ls_h5_image image;
    /* HDF5 could not close the file (its own memory ran out). It then keeps pointers into this struct, which
     * is never freed nor its address used again; other files can still be written and read. */
    int kept_by_hdf5;
    struct ls_confined *child; /* reading */
} ls_h5_file;

/* Checks one HDF5 call: a negative result becomes `code` with the path and HDF5's innermost message. */
#define LS_H5(status, label, code, path, call)                                                               \
    do {                                                                                                     \
        if ((call) < 0) {                                                                                    \
            (status) = ls_h5_fail((code), (path));                                                           \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

/* `code` with "PATH: HDF5: <innermost message> (<function>)"; to be called before any other HDF5 function. */
ls_status ls_h5_fail(ls_status code, const char *path);

/* Starts HDF5, once or again: its own error print and its search for plug-ins off.
 * LS_INTERNAL: too little memory for it to work with. Before each file. */
ls_status ls_h5_start(void);

/* Closes any HDF5 identifier but a file's; ids <= 0 are ignored. Negative: HDF5's close failed. */
herr_t ls_h5_close_id(hid_t id);

/* Makes room before HDF5 writes an object of so many bytes, for HDF5 does not recover from a write that
 * fails. */
ls_status ls_h5_reserve(ls_h5_file *file, uint64_t bytes);

/* A file access list whose file is the image. Reading: the image's bytes, which are neither copied nor
 * changed. */
ls_status ls_h5_image_access(ls_h5_image *image, int reading, const char *path, hid_t *access);

/* Where the file ends, as its superblock of `size` bytes says; 0 for what is no superblock of a file of ours. */
uint64_t ls_h5_end(const unsigned char *superblock, size_t size);

/* The type as stored in a file, and as held in memory. Not to be closed. */
hid_t ls_h5_stored_type(ls_record_type type);
hid_t ls_h5_memory_type(ls_record_type type);
const char *ls_h5_type_name(ls_record_type type);
/* Bytes of a value: 4 or 8. */
size_t ls_h5_type_size(ls_record_type type);

/* "f32 [10, 784]", "i64 scalar", for messages. */
typedef struct ls_h5_shape_text {
    char text[128];
} ls_h5_shape_text;
ls_h5_shape_text ls_h5_describe(const char *type, int dims, const int64_t *shape);

/* Fit for a file and a terminal: UTF-8, no control characters but newline and tab, within LS_H5_TEXT_LIMIT.
 */
int ls_h5_text_ok(const char *text, size_t length);

/* Closes HDF5's file; the image stays. LS_INTERNAL with path and reason. */
ls_status ls_h5_close(ls_h5_file *file);

/* Closes HDF5's file and frees image and struct. NULL inside and twice are fine. */
void ls_h5_release(ls_h5_file **file);

/* Bytes of an array of elements of this size; -1 if they are more than `most`. */
int64_t ls_h5_bytes_of(uint64_t most, size_t element, int dims, const int64_t *shape);
/* Bytes of an array; -1 if they are more than the file has (nothing is compressed, so they cannot be there).
 */
int64_t ls_h5_bytes_within(const ls_h5_file *file, ls_record_type type, int dims, const int64_t *shape);

/* Releases everything, and ends the child; an uncommitted file is forgotten. NULL inside and twice are fine. */
void ls_h5_discard(ls_h5_file **file);

/* ---- writing: LS_INTERNAL with path and reason: no memory, or a caller's fault such as a name twice ---- */

ls_status ls_h5_create(const char *path, ls_h5_file **file);
/* Makes a group, and those above it; fine if it is there. */
ls_status ls_h5_group(ls_h5_file *file, const char *path);
ls_status ls_h5_write_record(ls_h5_file *file, const ls_record *record);
/* A dataset that is one string of fixed length (an empty text is stored as one NUL). */
ls_status ls_h5_write_text(ls_h5_file *file, const char *path, const char *text);
/* Attributes of a group ("" or "/": the root); scalars, and a list of texts. */
ls_status ls_h5_attribute_u64(ls_h5_file *file, const char *group, const char *name, uint64_t value);
ls_status ls_h5_attribute_f64(ls_h5_file *file, const char *group, const char *name, double value);
ls_status ls_h5_attribute_text(ls_h5_file *file, const char *group, const char *name, const char *text);
ls_status ls_h5_attribute_texts(ls_h5_file *file, const char *group, const char *name,
                                const char *const *texts, int count);
/* Closes, seals and writes the file to its path (ls_atomic_write, whose LS_OUTPUT it passes on). */
ls_status ls_h5_commit(ls_h5_file *file, const char *kind, uint32_t version);

/* ---- reading: LS_BAD_DATA "PATH: .. found .., expected ..", LS_INTERNAL if out of memory ---- */

/* Reads the file, verifies its seal, opens it read-only. */
ls_status ls_h5_open(const char *path, const char *kind, uint32_t version, ls_h5_file **file);
/* The same for a file without a seal, written by anyone, in any version of the format. What is refused in a
 * file of ours is refused here. */
ls_status ls_h5_open_foreign(const char *path, ls_h5_file **file);
/* The bytes of any regular file of at most LS_H5_FILE_LIMIT, freed with free(). */
ls_status ls_h5_load(const char *path, unsigned char **data, size_t *size);
/* Hands over the name of each link of a group ("": the root), LS_H5_LINK_LIMIT at most, of whatever kind. A
 * failure of `visit` ends the walk and is returned. */
ls_status ls_h5_visit_names(const ls_h5_file *file, const char *group,
                            ls_status (*visit)(void *client, const char *name), void *client);
/* The record says what is expected and has room for it (checkpoint.h). Many at once are faster than one after
 * the other; the first that fails ends it. */
ls_status ls_h5_read_record(const ls_h5_file *file, ls_record *record);
ls_status ls_h5_read_records(const ls_h5_file *file, ls_record *records, int count);
/* The same, and also what HDF5 converts: floating-point numbers of 2, 4 or 8 bytes for such a record, integers
 * of 1 to 8 bytes for one of integers, in either byte order; compressed by gzip, with or without shuffle.
 * `found` says how it is stored where that differs, "f64, gzip"; "": nothing was converted. */
ls_status ls_h5_read_converted(const ls_h5_file *file, ls_record *record, ls_h5_shape_text *found);
/* Dimensions of a record whose bytes are there; -1: there is no such record that could be read. */
int ls_h5_shape(const ls_h5_file *file, const char *path, int64_t shape[4]);
/* Length of a 1-d record; -1: there is no such record that could be read. */
int64_t ls_h5_length(const ls_h5_file *file, const char *path);
/* *text is NUL-terminated, ls_h5_text_ok(), freed with free(). */
ls_status ls_h5_read_text(const ls_h5_file *file, const char *path, char **text);
/* An attribute of a group ("": the root), exactly a u64 scalar of at most `limit`. */
ls_status ls_h5_read_u64(const ls_h5_file *file, const char *group, const char *name, uint64_t limit,
                         uint64_t *value);
/* Likewise an f64 scalar; *there = 0 if the group has no such attribute. */
ls_status ls_h5_read_f64(const ls_h5_file *file, const char *group, const char *name, double *value,
                         int *there);
/* *there: is there an object of that path, by hard links all the way? */
ls_status ls_h5_has(const ls_h5_file *file, const char *path, int *there);
/* Reads all that is in the file, every value and attribute, and forgets it: LS_OK is that HDF5 can. */
ls_status ls_h5_check_whole(const ls_h5_file *file);

#endif
