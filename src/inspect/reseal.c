/* `lockstep inspect --reseal`: a file that another program has changed, sealed again if all in it is sound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "inspect/inspect.h"
#include "inspect/subject.h"
#include "io/atomic_file.h"
#include "io/hdf5.h"
#include "io/seal.h"

/* All that HDF5 can read, by the checksums of its own, and then what we read, with the fingerprint of the
 * tensors. */
static ls_status check(const char *path) {
    ls_subject subject;
    ls_h5_file *file = NULL;
    ls_status status = ls_h5_open_foreign(path, &file);
    if (status == LS_OK) status = ls_h5_check_whole(file);
    ls_h5_discard(&file);
    LS_TRY(status);
    LS_TRY(ls_subject_read(path, &subject));
    ls_subject_destroy(&subject);
    return LS_OK;
}

/* The message, which names the trial file, as one of the file itself. */
static ls_status blame(ls_status status, const char *path, const char *trial) {
    char why[1024];
    const char *said = ls_error_message();
    size_t length = strlen(trial);
    if (strncmp(said, trial, length) == 0 && strncmp(said + length, ": ", 2) == 0) said += length + 2;
    snprintf(why, sizeof why, "%s", said);
    return ls_fail(status, "%s: not sealed again: %s", path, why);
}

/* The file with its new seal is checked under another name before it takes the old one's place. */
static ls_status replace(const char *path, const unsigned char *data, size_t size) {
    char *trial = NULL;
    size_t length = strlen(path) + 32;
    LS_TRY(ls_calloc(&trial, length, 1, "a path"));
    snprintf(trial, length, "%s.tmp-%ld", path, (long)getpid());
    ls_status status = ls_atomic_write(trial, data, size, LS_READ_ONLY);
    if (status == LS_OK) {
        status = check(trial);
        if (status != LS_OK) status = blame(status, path, trial);
        if (unlink(trial) != 0) ls_log(LS_LOG_WARNING, "%s: cannot be removed", trial);
        if (status == LS_OK) status = ls_atomic_write(path, data, size, LS_READ_ONLY);
    }
    free(trial);
    return status;
}

ls_status ls_reseal(const char *path, FILE *out) {
    unsigned char *data = NULL, before[LS_SEAL_SIZE];
    size_t size = 0;
    ls_status status = ls_h5_load(path, &data, &size);
    if (status == LS_OK && size >= LS_SEAL_SIZE) memcpy(before, data, sizeof before);
    if (status == LS_OK) status = ls_seal_renew(data, size, path);
    if (status == LS_OK && memcmp(before, data, sizeof before) == 0) {
        fprintf(out, "%s: its seal is right; nothing was changed\n", path);
    } else if (status == LS_OK) {
        status = replace(path, data, size);
        if (status == LS_OK) fprintf(out, "%s: all that is in it is sound; sealed again\n", path);
    }
    free(data);
    return status;
}
