/* One array of a file, as checkpoint.h and metrics.h hand them over. */
#ifndef LOCKSTEP_IO_RECORD_H
#define LOCKSTEP_IO_RECORD_H

#include <stdint.h>

/* Stored little-endian, as IEEE 754 or two's complement, on every machine. */
typedef enum ls_record_type { LS_RECORD_F32, LS_RECORD_F64, LS_RECORD_I64, LS_RECORD_U64 } ls_record_type;

/* A path below the root ("model/1.weight"; groups are made as needed), type, shape and data. */
typedef struct ls_record {
    const char *path;
    ls_record_type type;
    int dims; /* 0: a scalar */
    int64_t shape[4];
    void *data; /* may be NULL where the shape holds a 0 */
} ls_record;

#endif
