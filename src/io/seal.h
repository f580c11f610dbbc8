/* The seal: the 512 bytes that a file of ours begins with (an HDF5 "user block", which HDF5 tools skip). It
 * says what the file is and carries the digest of the rest, so that nothing is parsed that is not as it was
 * written. It protects against accidents, not against forgers: anyone can compute it.
 *
 *   offset  size  content (integers little-endian)
 *        0    16  magic "\211lockstep\r\n\032\n" and zeros; as PNG's, it shows transfers in text mode
 *       16    16  kind: "checkpoint", "metrics"; padded with zeros
 *       32     4  version of the kind's layout
 *       36     4  0
 *       40     8  length of the whole file, the seal included
 *       48    16  XXH3-128 of everything behind the seal, in xxHash's canonical (big-endian) form
 *       64   448  0 */
#ifndef LOCKSTEP_IO_SEAL_H
#define LOCKSTEP_IO_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { LS_SEAL_SIZE = 512 };

/* Fills the first LS_SEAL_SIZE bytes of a file held in memory from the bytes behind them; size >=
 * LS_SEAL_SIZE. */
void ls_seal_write(unsigned char *file, size_t size, const char *kind, uint32_t version);

/* Gives a whole file, held in memory, whose kind and version stay as its seal says them the seal of what is now
 * behind it. LS_BAD_DATA: it begins with no seal of ours. */
ls_status ls_seal_renew(unsigned char *file, size_t size, const char *path);

/* Do these LS_SEAL_SIZE bytes begin as a seal of that kind does? Nothing else of them is checked. */
int ls_seal_is(const unsigned char *seal, const char *kind);

/* The length of the file that these bytes seal. */
uint64_t ls_seal_length(const unsigned char *seal);

/* Checks a seal by itself: magic, kind, version, and that `size`, the length found, is the length sealed. To
 * be called before anything is allocated by that length. LS_BAD_DATA: "PATH: .. found .., expected ..". */
ls_status ls_seal_check_head(const unsigned char *seal, uint64_t size, const char *kind, uint32_t version,
                             const char *path);

/* Checks the digest of a whole file, seal included, held in memory. LS_BAD_DATA with both digests. */
ls_status ls_seal_check_digest(const unsigned char *file, size_t size, const char *path);

#endif
