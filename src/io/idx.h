/* MNIST's IDX files, plain or gzip-compressed, read strictly (yann.lecun.com/exdb/mnist: magic 0 0 type dims,
 * each dimension as a big-endian 32-bit number, then the values; here always type 08, unsigned bytes). */
#ifndef LOCKSTEP_IO_IDX_H
#define LOCKSTEP_IO_IDX_H

#include "core/dataset.h"
#include "core/status.h"

/* Reads FOLDER/PART-images-idx3-ubyte and FOLDER/PART-labels-idx1-ubyte (part: "train" or "t10k") into *set,
 * which the caller destroys; where the plain file does not exist, the same name with .gz. Any image size; any
 * byte is a label, and classes is the largest one + 1. Local.
 *
 * LS_BAD_DATA, with the file's name, what was found and what was expected: a file that is missing, cannot be
 * read or is not a regular file; wrong magic, type or number of dimensions; a dimension of 0; more or fewer
 * bytes than the header says; a count of labels that is not that of images; a damaged or truncated gzip
 * member; anything behind its trailer. Allocates what the header promises, once the size of the file on disk
 * makes it credible, and 8 GiB at most. On failure *set is zeroed. */
ls_status ls_idx_read(const char *folder, const char *part, ls_dataset *set);

/* The sizes alone (count, height, width, classes), by the header of the images and all of the labels; the
 * images are not read and nothing is left to destroy. Fails as above. Local. */
ls_status ls_idx_read_sizes(const char *folder, const char *part, ls_dataset *sizes);

/* Checks that the sets read from folder's "train" and "t10k" belong together: same image size, and no label
 * of `test` beyond the classes of `train`. LS_BAD_DATA with the name of the test set's file if not. Local. */
ls_status ls_idx_check_pair(const char *folder, const ls_dataset *train, const ls_dataset *test);

#endif
