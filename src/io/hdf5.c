#include "io/hdf5.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

enum { MESSAGE_SIZE = 256 };

/* The first entry of a walk upward is the deepest: the cause. The rest only says who called whom. */
static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *client) {
    if (n == 0)
        snprintf(client, MESSAGE_SIZE, "%s (%s)", error->desc ? error->desc : "no message",
                 error->func_name ? error->func_name : "?");
    return 0;
}

ls_status ls_h5_fail(ls_status code, const char *path) {
    char found[MESSAGE_SIZE] = "no message";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, found);
    return ls_fail(code, "%s: HDF5: %s", path, found);
}

/* HDF5 1.10 crashes where the memory for its types or for a file's cache of metadata (some 2 MiB) cannot be
 * had: so whether it is there is asked before. */
static ls_status find_room(void) {
    enum { ROOM = 4 << 20 };
    char *room = malloc(ROOM);
    if (!room) return ls_fail(LS_INTERNAL, "out of memory: HDF5 needs %d MiB for a file", ROOM >> 20);
    *(volatile char *)room = 0; /* or a compiler may leave both calls out */
    free(room);
    return LS_OK;
}

ls_status ls_h5_start(void) {
    LS_TRY(find_room());
    /* After a failed close HDF5 would close the file again at exit, over freed memory. All files are closed
     * by us and none is on disk, so that nothing is left to do then. Must come before H5open; fails,
     * harmlessly, if repeated. */
    (void)H5dont_atexit();
    if (H5open() < 0) return ls_fail(LS_INTERNAL, "HDF5 does not start");
    ls_status status = LS_OK;
    LS_H5(status, done, LS_INTERNAL, "at start", H5Eset_auto2(H5E_DEFAULT, NULL, NULL));
    /* By default HDF5 loads shared objects that a file names as its filters. */
    LS_H5(status, done, LS_INTERNAL, "at start", H5PLset_loading_state(0));
done:
    return status;
}

herr_t ls_h5_close_id(hid_t id) {
    return id > 0 ? H5Idec_ref(id) : 0;
}

ls_status ls_h5_close(ls_h5_file *file) {
    hid_t id = file->id;
    file->id = 0;
    if (id <= 0 || H5Fclose(id) >= 0) return LS_OK;
    file->kept_by_hdf5 = 1;
    return ls_h5_fail(LS_INTERNAL, file->path);
}

void ls_h5_release(ls_h5_file **file) {
    if (!*file) return;
    /* In memory and of no further use, nothing is lost by a failed close; the status is the caller's first
     * one. */
    if ((*file)->id > 0 && H5Fclose((*file)->id) < 0) (*file)->kept_by_hdf5 = 1;
    if (!(*file)->kept_by_hdf5) {
        free((*file)->image.data);
        free((*file)->image.spare);
        free((*file)->path);
        free(*file);
    }
    *file = NULL;
}

/* ---- the image: HDF5 asks these callbacks for the memory that holds a file ---- */

/* Opening for reading: HDF5 wants a copy of the bytes and gets the bytes themselves. */
static void *image_malloc(size_t size, H5FD_file_image_op_t op, void *client) {
    ls_h5_image *image = client;
    (void)op;
    return size <= image->size ? image->data : NULL;
}

static void *image_memcpy(void *to, const void *from, size_t size, H5FD_file_image_op_t op, void *client) {
    (void)op;
    (void)client;
    if (to != from) memcpy(to, from, size);
    return to;
}

/* Memory for `size` bytes, to move to when it is needed. */
static int prepare(ls_h5_image *image, size_t size) {
    if (size <= image->capacity || size <= image->spare_capacity) return 1;
    size_t capacity = image->capacity * 2 > size ? image->capacity * 2 : size;
    free(image->spare);
    image->spare = malloc(capacity);
    image->spare_capacity = image->spare ? capacity : 0;
    return image->spare != NULL;
}

/* Writing: the size follows what HDF5 has written; new bytes are zero, so that equal files have equal bytes.
 * The data move here only, since here only HDF5 learns their address. */
static void *image_realloc(void *data, size_t size, H5FD_file_image_op_t op, void *client) {
    ls_h5_image *image = client;
    (void)data;
    (void)op;
    if (size > LS_H5_FILE_LIMIT || !prepare(image, size)) return NULL;
    if (size > image->capacity) {
        if (image->data) memcpy(image->spare, image->data, image->size);
        free(image->data);
        image->data = image->spare;
        image->capacity = image->spare_capacity;
        image->spare = NULL;
        image->spare_capacity = 0;
    }
    if (size > image->size) memset(image->data + image->size, 0, size - image->size);
    image->size = size;
    return image->data;
}

/* The image outlives HDF5's file: ls_h5_release() frees it. */
static herr_t image_free(void *data, H5FD_file_image_op_t op, void *client) {
    (void)data;
    (void)op;
    (void)client;
    return 0;
}

static void *client_copy(void *client) {
    return client;
}

static herr_t client_free(void *client) {
    (void)client;
    return 0;
}

ls_status ls_h5_reserve(ls_h5_file *file, uint64_t bytes) {
    /* The half is for a last chunk that is padded, the rest for HDF5's own blocks around an object. */
    const uint64_t extra = bytes / 2 + (256 << 10);
    hsize_t size = 0;
    if (H5Fget_filesize(file->id, &size) < 0) return ls_h5_fail(LS_INTERNAL, file->path);
    if (bytes > LS_H5_FILE_LIMIT || size + bytes + extra > LS_H5_FILE_LIMIT)
        return ls_fail(LS_INTERNAL, "%s: would be larger than a file may be (4 GiB)", file->path);
    if (!prepare(&file->image, (size_t)(size + bytes + extra)))
        return ls_fail(LS_INTERNAL, "%s: out of memory: room for %" PRIu64 " bytes", file->path,
                       (uint64_t)size + bytes + extra);
    return LS_OK;
}

ls_status ls_h5_image_access(ls_h5_image *image, int reading, const char *path, hid_t *access) {
    ls_status status = LS_OK;
    H5FD_file_image_callbacks_t callbacks = {image_malloc, image_memcpy, image_realloc, image_free,
                                             client_copy,  client_free,  image};
    LS_H5(status, done, LS_INTERNAL, path, *access = H5Pcreate(H5P_FILE_ACCESS));
    /* Grows to the byte, so that the image ends where the file ends; image_realloc keeps that cheap. */
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_fapl_core(*access, 1, 0));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_libver_bounds(*access, H5F_LIBVER_V110, H5F_LIBVER_V110));
    /* After a failure, whatever is still open in the file goes with it. */
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_fclose_degree(*access, H5F_CLOSE_STRONG));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_file_image_callbacks(*access, &callbacks));
    if (reading) LS_H5(status, done, LS_INTERNAL, path, H5Pset_file_image(*access, image->data, image->size));
done:
    return status;
}

uint64_t ls_h5_end(const unsigned char *superblock, size_t size) {
    /* Versions 2 and 3: signature, version, size of addresses, .., address of the end at 28. */
    enum { VERSION_AT = 8, WIDTH_AT = 9, END_AT = 28, SUPERBLOCK_SIZE = 48 };
    uint64_t end = 0;
    if (size < SUPERBLOCK_SIZE || memcmp(superblock, "\211HDF\r\n\032\n", 8) != 0 ||
        superblock[WIDTH_AT] != 8 || superblock[VERSION_AT] < 2 || superblock[VERSION_AT] > 3)
        return 0;
    for (int i = 0; i < 8; i++) end |= (uint64_t)superblock[END_AT + i] << 8 * i;
    return end;
}

/* ---- types, shapes, texts ---- */

hid_t ls_h5_stored_type(ls_record_type type) {
    switch (type) {
    case LS_RECORD_F32: return H5T_IEEE_F32LE;
    case LS_RECORD_F64: return H5T_IEEE_F64LE;
    case LS_RECORD_I64: return H5T_STD_I64LE;
    case LS_RECORD_U64: return H5T_STD_U64LE;
    }
    return H5I_INVALID_HID;
}

hid_t ls_h5_memory_type(ls_record_type type) {
    switch (type) {
    case LS_RECORD_F32: return H5T_NATIVE_FLOAT;
    case LS_RECORD_F64: return H5T_NATIVE_DOUBLE;
    case LS_RECORD_I64: return H5T_NATIVE_INT64;
    case LS_RECORD_U64: return H5T_NATIVE_UINT64;
    }
    return H5I_INVALID_HID;
}

const char *ls_h5_type_name(ls_record_type type) {
    static const char *const names[] = {"f32", "f64", "i64", "u64"};
    return names[type];
}

size_t ls_h5_type_size(ls_record_type type) {
    return type == LS_RECORD_F32 ? 4 : 8;
}

int64_t ls_h5_bytes_of(uint64_t most, size_t element, int dims, const int64_t *shape) {
    uint64_t bytes = element;
    for (int i = 0; i < dims; i++)
        if (shape[i] == 0) return 0;
    for (int i = 0; i < dims; i++) {
        if (shape[i] < 0 || (uint64_t)shape[i] > most / bytes) return -1;
        bytes *= (uint64_t)shape[i];
    }
    return (int64_t)bytes;
}

int64_t ls_h5_bytes_within(const ls_h5_file *file, ls_record_type type, int dims, const int64_t *shape) {
    return ls_h5_bytes_of(file->image.size, ls_h5_type_size(type), dims, shape);
}

ls_h5_shape_text ls_h5_describe(const char *type, int dims, const int64_t *shape) {
    ls_h5_shape_text out;
    int at = snprintf(out.text, sizeof out.text, dims == 0 ? "%s scalar" : "%s [", type);
    for (int i = 0; i < dims && at > 0 && at < (int)sizeof out.text; i++)
        at += snprintf(out.text + at, sizeof out.text - (size_t)at, "%" PRId64 "%s", shape[i],
                       i + 1 < dims ? ", " : "]");
    return out;
}

/* Length of the UTF-8 sequence at `at`, with its value; 0 if there is none (overlong and surrogates
 * included). */
static int decode(const unsigned char *at, size_t left, uint32_t *value) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = at[0] < 0x80   ? 1
                 : at[0] < 0xc0 ? 0
                 : at[0] < 0xe0 ? 2
                 : at[0] < 0xf0 ? 3
                 : at[0] < 0xf8 ? 4
                                : 0;
    if (length == 0 || (size_t)length > left) return 0;
    *value = length == 1 ? at[0] : at[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        *value = *value << 6 | (at[i] & 0x3fu);
    }
    int surrogate = *value >= 0xd800 && *value < 0xe000;
    return *value < smallest[length] || *value > 0x10ffff || surrogate ? 0 : length;
}

int ls_h5_text_ok(const char *text, size_t length) {
    if (length > LS_H5_TEXT_LIMIT) return 0;
    for (size_t i = 0; i < length;) {
        uint32_t value = 0;
        int bytes = decode((const unsigned char *)text + i, length - i, &value);
        int control = value < 0x20 ? value != '\n' && value != '\t' : value >= 0x7f && value < 0xa0;
        if (bytes == 0 || control) return 0;
        i += (size_t)bytes;
    }
    return 1;
}
