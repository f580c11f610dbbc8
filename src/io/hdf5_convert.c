#include "io/hdf5_convert.h"

#include <inttypes.h>

/* ---- types ---- */

typedef struct convertible {
    const char *name;
    int is_float, size, big_endian, is_signed;
} convertible;

static const convertible types[] = {
    {"f16", 1, 2, 0, 1}, {"f16 big-endian", 1, 2, 1, 1}, {"f32", 1, 4, 0, 1}, {"f32 big-endian", 1, 4, 1, 1},
    {"f64", 1, 8, 0, 1}, {"f64 big-endian", 1, 8, 1, 1}, {"i8", 0, 1, 0, 1},  {"u8", 0, 1, 0, 0},
    {"i16", 0, 2, 0, 1}, {"i16 big-endian", 0, 2, 1, 1}, {"u16", 0, 2, 0, 0}, {"u16 big-endian", 0, 2, 1, 0},
    {"i32", 0, 4, 0, 1}, {"i32 big-endian", 0, 4, 1, 1}, {"u32", 0, 4, 0, 0}, {"u32 big-endian", 0, 4, 1, 0},
    {"i64", 0, 8, 0, 1}, {"i64 big-endian", 0, 8, 1, 1}, {"u64", 0, 8, 0, 0}, {"u64 big-endian", 0, 8, 1, 0},
};
enum { TYPES = sizeof types / sizeof *types };

/* HDF5's type, which the caller closes; <= 0: no memory. */
static hid_t make(const convertible *t) {
    const H5T_order_t order = t->big_endian ? H5T_ORDER_BE : H5T_ORDER_LE;
    hid_t type = H5Tcopy(!t->is_float ? H5T_STD_I64LE : t->size == 8 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE);
    int made = type > 0 && H5Tset_order(type, order) >= 0;
    if (!t->is_float)
        made = made && H5Tset_size(type, (size_t)t->size) >= 0 &&
               H5Tset_sign(type, t->is_signed ? H5T_SGN_2 : H5T_SGN_NONE) >= 0;
    else if (t->size == 2) /* IEEE's number of 2 bytes, for which HDF5 has no name */
        made = made && H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
               H5Tset_ebias(type, 15) >= 0;
    if (made) return type;
    ls_h5_close_id(type);
    return H5I_INVALID_HID;
}

int ls_h5_convertible(hid_t type, ls_record_type wanted) {
    const int is_float = wanted == LS_RECORD_F32 || wanted == LS_RECORD_F64;
    for (int i = 0; i < TYPES; i++) {
        if (types[i].is_float != is_float) continue;
        hid_t candidate = make(&types[i]);
        int equal = candidate > 0 && H5Tequal(type, candidate) > 0;
        ls_h5_close_id(candidate);
        if (equal) return i;
    }
    return -1;
}

const char *ls_h5_stored_name(uint64_t type) {
    return type < TYPES ? types[type].name : NULL;
}

/* ---- compressed chunks ---- */

/* A chunk is read into memory whole. Its size in the file says nothing, but h5py makes none that is much larger
 * than the array, unless the array may grow. */
ls_status ls_h5_check_compressed(const ls_h5_file *file, const char *path, hid_t dataset, hid_t list,
                                 size_t element, int64_t bytes) {
    const uint64_t most = bytes > 1 << 20 ? (uint64_t)bytes : 1 << 20;
    hsize_t chunk[4], size[4], written = 0, expected = 1;
    ls_status status = LS_OK;
    hid_t space = 0;
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    int rank = H5Sget_simple_extent_ndims(space);
    if (rank < 1 || rank > 4 || H5Pget_chunk(list, 4, chunk) != rank ||
        H5Sget_simple_extent_dims(space, size, NULL) != rank) {
        status =
            ls_fail(LS_BAD_DATA, "%s: %s: found chunks of other dimensions than the array", file->path, path);
        goto done;
    }
    uint64_t chunk_bytes = element;
    for (int i = 0; i < rank; i++) {
        if (chunk[i] == 0 || chunk[i] > most / chunk_bytes) {
            status = ls_fail(LS_BAD_DATA, "%s: %s: found chunks larger than the array", file->path, path);
            goto done;
        }
        chunk_bytes *= chunk[i];
        expected *= size[i] / chunk[i] + (size[i] % chunk[i] != 0);
    }
    LS_H5(status, done, LS_BAD_DATA, file->path, H5Dget_num_chunks(dataset, space, &written));
    /* Chunks that were never written would read as zeros. */
    if (written < expected)
        status = ls_fail(LS_BAD_DATA, "%s: %s: found %" PRIu64 " chunks stored, expected %" PRIu64,
                         file->path, path, (uint64_t)written, (uint64_t)expected);
done:
    ls_h5_close_id(space);
    return status;
}
