#include "train/result_file.h"

#include <stdio.h>

ls_status ls_result_file_create(const char *path, const char *kind, const ls_restored *r, ls_h5_file **file) {
    char format[64];
    ls_status status = LS_OK;
    snprintf(format, sizeof format, "lockstep %s", kind);
    LS_TRY(ls_h5_create(path, file));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_text(*file, "", "format", format));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_u64(*file, "", "format_version", LS_RESULT_FILE_VERSION));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_u64(*file, "", "step", r->mark.step));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_u64(*file, "", "fingerprint", r->mark.fingerprint));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_text(*file, "", "data_set", r->trainer->data.name));
    LS_TRY_GOTO(status, failed, ls_h5_attribute_u64(*file, "", "data_digest", r->trainer->data.digest));
    LS_TRY_GOTO(status, failed, ls_h5_write_text(*file, "config/yaml", r->config_yaml));
    return LS_OK;
failed:
    ls_h5_discard(file);
    return status;
}

ls_status ls_result_file_commit(ls_h5_file *file, const char *kind) {
    return ls_h5_commit(file, kind, LS_RESULT_FILE_VERSION);
}
