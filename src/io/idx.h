/* MNIST's IDX files, plain or gzip-compressed, read strictly (yann.lecun.com/exdb/mnist: magic 0 0 type dims,
 * each dimension as a big-endian 32-bit number, then the values; here always type 08, unsigned bytes).
 *
 * A set is a folder with four files (idx_names.h says what they may be called). Any image size; any byte is a
 * label. LS_BAD_DATA, with the file's name, what was found and what was expected: a file that is missing,
 * cannot be read or is not a regular file; wrong magic, type or number of dimensions; a dimension of 0; more
 * or fewer bytes than the header says; a count of labels that is not that of images; a damaged or truncated
 * gzip member; anything behind its trailer; a plain file that is called .gz, or the other way round.
 * Allocates what the header promises, once the size of the file on disk makes it credible, and 8 GiB at most.
 */
#ifndef LOCKSTEP_IO_IDX_H
#define LOCKSTEP_IO_IDX_H

#include "io/reader.h"

extern const ls_reader_class ls_idx_reader;

#endif
