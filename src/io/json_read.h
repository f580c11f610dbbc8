/* Members of a JSON file of ours read back, as far as programs need them: texts and lists of numbers. JSON is
 * a part of YAML, so libyaml reads it (config_yaml.h says how strictly); json.h writes. Local. */
#ifndef LOCKSTEP_IO_JSON_READ_H
#define LOCKSTEP_IO_JSON_READ_H

#include <stddef.h>

#include "core/status.h"

typedef struct ls_json_file ls_json_file;

/* LS_BAD_DATA: no such file, over 1 MiB, or no JSON object. */
ls_status ls_json_read(const char *path, ls_json_file **file);
void ls_json_close(ls_json_file **file);

/* The text (or number as text) of a member; owned by the file. LS_BAD_DATA names it where it is not there. */
ls_status ls_json_text_of(ls_json_file *file, const char *key, const char **text);
/* The numbers of file[object][key], null as NaN; owned by the caller. No such member: *count is 0. LS_BAD_DATA:
 * something else than numbers. */
ls_status ls_json_reals_of(ls_json_file *file, const char *object, const char *key, double **values,
                           size_t *count);

#endif
