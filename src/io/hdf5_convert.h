/* What others store in another way than we do, and HDF5 converts while it reads: the tensors of an import.
 * Other sizes of numbers, the other byte order, gzip. Here is which of these are taken; the parser asks, and the
 * reader names them (hdf5_parse.h, hdf5.h). */
#ifndef LOCKSTEP_IO_HDF5_CONVERT_H
#define LOCKSTEP_IO_HDF5_CONVERT_H

#include "io/hdf5.h"

/* Deflate spends at least 2 bits on a match of at most 258 bytes: 1032 bytes out of one byte in, never more. */
enum { LS_DEFLATE_RATIO = 1032 };

/* How values are stored. */
typedef struct ls_stored {
    int type;       /* for ls_h5_stored_name() */
    int compressed; /* by gzip */
} ls_stored;

/* Which of the types that HDF5 converts to the wanted one this is; -1: none of them. */
int ls_h5_convertible(hid_t type, ls_record_type wanted);

/* "f16", "i32 big-endian"; NULL: there is no such type. */
const char *ls_h5_stored_name(uint64_t type);

/* A compressed dataset, by its list of properties: every chunk is there, and none takes much more memory than the
 * `bytes` of the array (of elements of this size). LS_BAD_DATA. */
ls_status ls_h5_check_compressed(const ls_h5_file *file, const char *path, hid_t dataset, hid_t list,
                                 size_t element, int64_t bytes);

#endif
