/* What the tests of the IDX reader share: a scratch folder, files made in it, and what is demanded of a
 * refusal. */
#ifndef LOCKSTEP_TESTS_IO_IDX_FILES_H
#define LOCKSTEP_TESTS_IO_IDX_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <zlib.h>

#include "io/reader.h"

enum { GZIP = 16 + MAX_WBITS, ZLIB = MAX_WBITS, RAW_DEFLATE = -MAX_WBITS }; /* zlib's window bits */
enum { IMAGES, LABELS };                                                    /* the files of a set */

typedef struct buffer {
    uint8_t *bytes;
    size_t size;
} buffer;

extern char folder[]; /* the scratch folder: a cmocka group's setup makes it, its teardown removes it */
int make_folder(void **state);
int remove_folder(void **state);

/* The path of the training set's images or labels, in a static buffer. */
const char *path_of(int file, bool gz);

buffer make_buffer(size_t size); /* zeros, and one more behind them */
void put_word(uint8_t *at, uint32_t word);

/* Images of bytes that do not compress, and labels 0 .. classes-1 in turn, from the last one on. */
buffer make_images(uint32_t count, uint32_t height, uint32_t width);
buffer make_labels(uint32_t count, uint32_t classes);

/* The small set that the damaged cases start from: 3 images of 2 x 5, labels 2 0 1. */
buffer small_contents(int file);

/* in, compressed; with_name puts a name, a comment and a time into gzip's header. */
buffer compress_as(buffer in, int window_bits, bool with_name);

void write_file(int file, bool gz, const uint8_t *bytes, size_t size);
void write_as(int file, bool gz, buffer contents, bool with_name);
void write_small(int file, bool gz);
void remove_files(void);

void assert_zeroed(const ls_dataset *set);

/* Opens the set and reads one part of it. */
ls_status read_part(const char *from, ls_data_part part, ls_dataset *set);

/* Reads the folder, which must fail with LS_BAD_DATA, a message that begins with file's path, says what was
 * found and expected and contains `expected`, and a zeroed set. `what` names the case where it does not. */
void assert_refused(int file, const char *what, const char *expected);

#endif
