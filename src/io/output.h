/* Files that a verb is told to write: none is replaced that nobody asked to replace. */
#ifndef LOCKSTEP_IO_OUTPUT_H
#define LOCKSTEP_IO_OUTPUT_H

#include <stdbool.h>

#include "core/status.h"

/* A file to write, before any work is done for it. */
typedef struct ls_output {
    const char *path;  /* NULL: none is to be written */
    const char *input; /* what the verb reads, which is never replaced; or NULL */
    bool force;        /* replace a file that is there */
} ls_output;

/* May it be written? LS_USAGE: it is the input; LS_OUTPUT: something is there that is no regular file;
 * LS_BUSY: a file is there, and it is not forced. `kind`: a file that is sealed as of this kind is the verb's
 * own and may always be replaced; NULL: none is. Local. */
ls_status ls_output_check(const ls_output *output, const char *kind);

#endif
