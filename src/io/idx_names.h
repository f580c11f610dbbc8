/* What the four files of an IDX set are called, and where in a folder they lie. */
#ifndef LOCKSTEP_IO_IDX_NAMES_H
#define LOCKSTEP_IO_IDX_NAMES_H

#include <stdbool.h>

#include "io/reader.h"

typedef enum ls_idx_item { LS_IDX_IMAGES, LS_IDX_LABELS } ls_idx_item;

/* The folder at or in `path` that holds files of a set, owned by the caller: `path` itself, else raw,
 * MNIST/raw, FashionMNIST/raw or KMNIST/raw in it, where torchvision puts them. *folder = NULL: none does.
 * LS_BAD_DATA: several of these do. */
ls_status ls_idx_find_folder(const char *path, char **folder);

/* The path of one file, owned by the caller: train-images-idx3-ubyte and the like, or with .idx3-ubyte for
 * -idx3-ubyte; plain, or else with .gz. LS_BAD_DATA: missing, with the nearest name in the folder. */
ls_status ls_idx_find_file(const char *folder, ls_data_part part, ls_idx_item item, char **path);

/* For a folder that has none of the files: what was looked for and what is nearest. */
void ls_idx_explain_miss(const char *path, char *text, size_t size);

#endif
