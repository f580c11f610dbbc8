/* Files that are either whole or not there, whatever happens while they are written. */
#ifndef LOCKSTEP_IO_ATOMIC_FILE_H
#define LOCKSTEP_IO_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/types.h>

#include "core/status.h"

/* Permissions of a new file, of which the umask takes away: for people to edit, or for nobody to change. */
enum { LS_EDITABLE = 0666, LS_READ_ONLY = 0444 };

/* Makes PATH hold these bytes: temporary file PATH.tmp-<pid> (new, not through a link), write, fsync, close,
 * read back and compare, rename, fsync of the folder. LS_OUTPUT with path and reason; the temporary file is
 * then gone and an older PATH as it was, except after a failed fsync of the folder: then the new file stands,
 * whole, but may not outlive a power cut. One writer of PATH per process at a time. An older PATH may be
 * read-only. */
ls_status ls_atomic_write(const char *path, const void *data, size_t size, mode_t permissions);

/* Removes the regular files FOLDER/<name>.tmp-<pid> whose writer no longer runs, this process's own number
 * included: in containers the dead writer often had the same. `locked`: the caller holds the folder's lock,
 * so no writer runs, even if its number is in use: by a newer process, or by a dead one that nobody has
 * waited for. To be called by the one owner of the folder, at its start, while it writes nothing. LS_OUTPUT
 * with path and reason. */
ls_status ls_atomic_sweep(const char *folder, bool locked);

#endif
