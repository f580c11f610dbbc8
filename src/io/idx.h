/* MNIST's IDX files, plain or gzip-compressed, read strictly (yann.lecun.com/exdb/mnist: magic 0 0 08 dims, big-endian
 * dimensions, bytes). */
#ifndef LOCKSTEP_IO_IDX_H
#define LOCKSTEP_IO_IDX_H

#include "core/dataset.h"
#include "core/status.h"

/* Reads FOLDER/{train,t10k}-images-idx3-ubyte[.gz] and ..-labels-idx1-ubyte[.gz] (part: "train" or "t10k") into *set.
 * Any image size and number of classes. LS_BAD_DATA with the file's name and what was expected: a file that is missing
 * or cannot be read, wrong magic, type or dimensions, zero dimensions, more or fewer bytes than the header says, a
 * count of labels that is not that of images, a damaged or truncated gzip member, anything behind its trailer. Never
 * allocates more than the header promises, nor more than 8 GiB. On failure *set is zeroed. Local. */
ls_status ls_idx_read(const char *folder, const char *part, ls_dataset *set);

/* Checks that two sets belong together: same image size, and no label of `test` beyond the classes of `train`. */
ls_status ls_idx_check_pair(const char *folder, const ls_dataset *train, const ls_dataset *test);

#endif
