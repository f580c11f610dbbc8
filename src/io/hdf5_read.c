/* Reading: the seal first, then only what has the type, shape and storage that was asked for. */
#include "io/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/seal.h"

/* ---- the bytes ---- */

/* Reads exactly size bytes; 1 if the file ends before, -1 with errno on failure. */
static int read_all(int fd, unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t got = read(fd, data, size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) return 1;
        data += got;
        size -= (size_t)got;
    }
    return 0;
}

static ls_status read_piece(int fd, unsigned char *data, size_t size, const char *path) {
    int result = read_all(fd, data, size);
    if (result < 0) return ls_fail(LS_BAD_DATA, "%s: cannot read: %s", path, strerror(errno));
    return result == 0 ? LS_OK : ls_fail(LS_BAD_DATA, "%s: became shorter while it was read", path);
}

static ls_status size_of(int fd, const char *path, uint64_t *size) {
    struct stat info;
    if (fstat(fd, &info) != 0) return ls_fail(LS_BAD_DATA, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return ls_fail(LS_BAD_DATA, "%s: not a regular file", path);
    *size = (uint64_t)info.st_size;
    if (*size > LS_H5_FILE_LIMIT)
        return ls_fail(LS_BAD_DATA, "%s: found %" PRIu64 " bytes, expected at most %" PRIu64, path, *size,
                       LS_H5_FILE_LIMIT);
    return LS_OK;
}

static ls_status allocate_image(uint64_t size, const char *path, ls_h5_image *image) {
    image->data = malloc((size_t)size);
    if (!image->data) return ls_fail(LS_INTERNAL, "%s: out of memory: %" PRIu64 " bytes", path, size);
    image->size = image->capacity = (size_t)size;
    return LS_OK;
}

/* The whole file; its length is believed only after the seal's head has confirmed it. */
static ls_status read_sealed(int fd, const char *path, const char *kind, uint32_t version,
                             ls_h5_image *image) {
    unsigned char head[LS_SEAL_SIZE] = {0};
    uint64_t size;
    LS_TRY(size_of(fd, path, &size));
    if (size >= LS_SEAL_SIZE) LS_TRY(read_piece(fd, head, sizeof head, path));
    LS_TRY(ls_seal_check_head(head, size, kind, version, path));
    LS_TRY(allocate_image(size, path, image));
    memcpy(image->data, head, sizeof head);
    LS_TRY(read_piece(fd, image->data + sizeof head, (size_t)size - sizeof head, path));
    return ls_seal_check_digest(image->data, image->size, path);
}

/* The whole file, whatever it holds. */
static ls_status read_foreign(int fd, const char *path, ls_h5_image *image) {
    uint64_t size;
    LS_TRY(size_of(fd, path, &size));
    if (size == 0) return ls_fail(LS_BAD_DATA, "%s: found an empty file, expected HDF5", path);
    LS_TRY(allocate_image(size, path, image));
    return read_piece(fd, image->data, (size_t)size, path);
}

/* `kind` NULL: a file without a seal. */
static ls_status open_image(const char *path, const char *kind, uint32_t version, ls_h5_file **file) {
    hid_t access = 0;
    ls_status status = LS_OK;
    *file = NULL;
    LS_TRY(ls_h5_start());
    /* O_NONBLOCK: a named pipe is refused below instead of waited for. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return ls_fail(LS_BAD_DATA, "%s: cannot open: %s", path, strerror(errno));
    LS_TRY_GOTO(status, done, ls_calloc(file, 1, sizeof **file, "an HDF5 file"));
    LS_TRY_GOTO(status, done, ls_strdup(&(*file)->path, path));
    LS_TRY_GOTO(status, done,
                kind ? read_sealed(fd, path, kind, version, &(*file)->image)
                     : read_foreign(fd, path, &(*file)->image));
    LS_TRY_GOTO(status, done, ls_h5_image_access(&(*file)->image, 1, path, &access));
    /* A name of its own: HDF5 takes two open files of one name for the same one. */
    char name[64];
    snprintf(name, sizeof name, "lockstep-in-memory-%p", (void *)*file);
    LS_H5(status, done, LS_BAD_DATA, path, (*file)->id = H5Fopen(name, H5F_ACC_RDONLY, access));
done:
    if (close(fd) != 0 && errno != EINTR && status == LS_OK)
        status = ls_fail(LS_BAD_DATA, "%s: cannot close: %s", path, strerror(errno));
    ls_h5_close_id(access);
    if (status != LS_OK) ls_h5_discard(file);
    return status;
}

ls_status ls_h5_open(const char *path, const char *kind, uint32_t version, ls_h5_file **file) {
    return open_image(path, kind, version, file);
}

ls_status ls_h5_open_foreign(const char *path, ls_h5_file **file) {
    return open_image(path, NULL, 0, file);
}

/* ---- finding an object by name ---- */

/* Every component of the path must be a hard link: soft and external ones lead elsewhere, even to other
 * files. */
static ls_status check_links(const ls_h5_file *file, const char *path) {
    char *prefix = NULL;
    ls_status status = LS_OK;
    LS_TRY(ls_strdup(&prefix, path));
    for (char *end = prefix; status == LS_OK && *end;) {
        H5L_info_t info;
        end += strcspn(end, "/");
        char kept = *end;
        *end = '\0';
        htri_t there = H5Lexists(file->id, prefix, H5P_DEFAULT);
        if (there < 0)
            status = ls_h5_fail(LS_BAD_DATA, file->path);
        else if (there == 0)
            status = ls_fail(LS_BAD_DATA, "%s: %s: found nothing at %s, expected a record", file->path, path,
                             prefix);
        else if (H5Lget_info(file->id, prefix, &info, H5P_DEFAULT) < 0)
            status = ls_h5_fail(LS_BAD_DATA, file->path);
        else if (info.type != H5L_TYPE_HARD)
            status = ls_fail(LS_BAD_DATA, "%s: %s: found a soft or external link at %s, expected a hard link",
                             file->path, path, prefix);
        *end = kept;
        if (kept) end++;
    }
    free(prefix);
    return status;
}

int ls_h5_has(const ls_h5_file *file, const char *path) {
    return check_links(file, path) == LS_OK;
}

static ls_status open_object(const ls_h5_file *file, const char *path, H5I_type_t kind, const char *expected,
                             hid_t *object) {
    ls_status status = LS_OK;
    LS_TRY(check_links(file, path));
    LS_H5(status, done, LS_BAD_DATA, file->path,
          *object = H5Oopen(file->id, *path ? path : "/", H5P_DEFAULT));
    if (H5Iget_type(*object) != kind)
        status = ls_fail(LS_BAD_DATA, "%s: %s: found another kind of object, expected a %s", file->path, path,
                         expected);
done:
    return status;
}

typedef struct name_visit {
    ls_status (*visit)(void *client, const char *name);
    void *client;
    ls_status status;
} name_visit;

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *info, void *client) {
    name_visit *v = client;
    (void)group;
    (void)info;
    v->status = v->visit(v->client, name);
    return v->status == LS_OK ? 0 : 1; /* 1 ends the walk and is no failure of HDF5's */
}

ls_status ls_h5_visit_names(const ls_h5_file *file, const char *group,
                            ls_status (*visit)(void *client, const char *name), void *client) {
    name_visit v = {visit, client, LS_OK};
    ls_status status = LS_OK;
    hid_t object = 0;
    H5G_info_t info;
    if (*group)
        LS_TRY_GOTO(status, done, open_object(file, group, H5I_GROUP, "group", &object));
    else
        LS_H5(status, done, LS_BAD_DATA, file->path, object = H5Gopen2(file->id, "/", H5P_DEFAULT));
    LS_H5(status, done, LS_BAD_DATA, file->path, H5Gget_info(object, &info));
    if (info.nlinks > LS_H5_LINK_LIMIT) {
        status = ls_fail(LS_BAD_DATA, "%s: found %" PRIu64 " links in a group, expected at most %d",
                         file->path, (uint64_t)info.nlinks, LS_H5_LINK_LIMIT);
        goto done;
    }
    LS_H5(status, done, LS_BAD_DATA, file->path,
          H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, &v));
    status = v.status;
done:
    ls_h5_close_id(object);
    return status;
}

/* ---- types and shapes as found ---- */

/* "f32", .. for the types that we write, else HDF5's class of type. */
static const char *name_of_type(hid_t type) {
    static const char *const classes[] = {"integer",   "float",           "time",     "string",
                                          "bit field", "opaque",          "compound", "reference",
                                          "enum",      "variable-length", "array"};
    for (int known = LS_RECORD_F32; known <= LS_RECORD_U64; known++)
        if (H5Tequal(type, ls_h5_stored_type((ls_record_type)known)) > 0)
            return ls_h5_type_name((ls_record_type)known);
    H5T_class_t class = H5Tget_class(type);
    return class >= 0 && (size_t) class < sizeof classes / sizeof *classes ? classes[class] : "unknown";
}

static const char *array_suffix(hid_t space) {
    return H5Sget_simple_extent_type(space) == H5S_SCALAR ? "" : " array";
}

/* *dims = -1 for anything but a scalar or up to 4 dimensions. */
static ls_status shape_of(const ls_h5_file *file, hid_t space, int *dims, int64_t shape[4]) {
    hsize_t found[4];
    ls_status status = LS_OK;
    H5S_class_t class = H5Sget_simple_extent_type(space);
    *dims = class == H5S_SCALAR ? 0 : -1;
    if (class != H5S_SIMPLE) return LS_OK;
    int rank;
    LS_H5(status, done, LS_BAD_DATA, file->path, rank = H5Sget_simple_extent_ndims(space));
    if (rank < 1 || rank > 4) return LS_OK;
    LS_H5(status, done, LS_BAD_DATA, file->path, H5Sget_simple_extent_dims(space, found, NULL));
    for (int i = 0; i < rank; i++)
        if (found[i] > INT64_MAX) return LS_OK;
    for (int i = 0; i < rank; i++) shape[i] = (int64_t)found[i];
    *dims = rank;
done:
    return status;
}

/* Bytes of an array; -1 if they are more than the file has (nothing is compressed, so they cannot be there).
 */
static int64_t bytes_within(const ls_h5_file *file, ls_record_type type, int dims, const int64_t *shape) {
    uint64_t bytes = ls_h5_type_size(type);
    for (int i = 0; i < dims; i++)
        if (shape[i] == 0) return 0;
    for (int i = 0; i < dims; i++) {
        if (shape[i] < 0 || (uint64_t)shape[i] > file->image.size / bytes) return -1;
        bytes *= (uint64_t)shape[i];
    }
    return (int64_t)bytes;
}

/* ---- how a dataset is stored ---- */

static ls_status check_chunks(const ls_h5_file *file, const char *path, hid_t list, size_t element) {
    hsize_t chunk[4] = {0};
    ls_status status = LS_OK;
    int rank;
    LS_H5(status, done, LS_BAD_DATA, file->path, rank = H5Pget_chunk(list, 4, chunk));
    uint64_t bytes = element;
    for (int i = 0; i < rank && i < 4; i++) {
        if (chunk[i] == 0 || chunk[i] > file->image.size / bytes)
            return ls_fail(LS_BAD_DATA, "%s: %s: found chunks larger than the file", file->path, path);
        bytes *= chunk[i];
    }
done:
    return status;
}

static ls_status check_filters(const ls_h5_file *file, const char *path, hid_t list) {
    ls_status status = LS_OK;
    int filters;
    LS_H5(status, done, LS_BAD_DATA, file->path, filters = H5Pget_nfilters(list));
    for (int i = 0; i < filters; i++) {
        unsigned flags, config;
        size_t values = 0;
        H5Z_filter_t filter;
        LS_H5(status, done, LS_BAD_DATA, file->path,
              filter = H5Pget_filter2(list, (unsigned)i, &flags, &values, NULL, 0, NULL, &config));
        if (filter != H5Z_FILTER_FLETCHER32)
            return ls_fail(LS_BAD_DATA, "%s: %s: found filter %d, expected none but Fletcher32 (%d)",
                           file->path, path, filter, H5Z_FILTER_FLETCHER32);
    }
done:
    return status;
}

/* Everything in this file and there in full, nothing that runs code or reads other files. */
static ls_status check_storage(const ls_h5_file *file, const char *path, hid_t dataset, size_t element,
                               int64_t bytes) {
    ls_status status = LS_OK;
    hid_t list = 0;
    int external;
    H5D_layout_t layout;
    LS_H5(status, done, LS_BAD_DATA, file->path, list = H5Dget_create_plist(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, layout = H5Pget_layout(list));
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) {
        status = ls_fail(LS_BAD_DATA, "%s: %s: found layout %d, expected compact, contiguous or chunked",
                         file->path, path, (int)layout);
        goto done;
    }
    if (layout == H5D_CHUNKED) LS_TRY_GOTO(status, done, check_chunks(file, path, list, element));
    LS_H5(status, done, LS_BAD_DATA, file->path, external = H5Pget_external_count(list));
    if (external > 0) {
        status =
            ls_fail(LS_BAD_DATA, "%s: %s: found data in external files, expected none", file->path, path);
        goto done;
    }
    LS_TRY_GOTO(status, done, check_filters(file, path, list));
    /* Parts that were never written would read as zeros. */
    if (bytes > 0 && H5Dget_storage_size(dataset) < (hsize_t)bytes)
        status =
            ls_fail(LS_BAD_DATA, "%s: %s: found fewer bytes stored than its shape has", file->path, path);
done:
    ls_h5_close_id(list);
    return status;
}

/* ---- records ---- */

static ls_status check_type_and_shape(const ls_h5_file *file, const ls_record *record, hid_t type,
                                      hid_t space) {
    int dims;
    int64_t shape[4] = {0};
    LS_TRY(shape_of(file, space, &dims, shape));
    int equal = dims == record->dims && H5Tequal(type, ls_h5_stored_type(record->type)) > 0;
    for (int i = 0; equal && i < dims; i++) equal = shape[i] == record->shape[i];
    if (equal) return LS_OK;
    ls_h5_shape_text found = ls_h5_describe(name_of_type(type), dims < 0 ? 0 : dims, shape);
    ls_h5_shape_text expected = ls_h5_describe(ls_h5_type_name(record->type), record->dims, record->shape);
    return ls_fail(LS_BAD_DATA, "%s: %s: found %s, expected %s", file->path, record->path,
                   dims < 0 ? "an array of unusual shape" : found.text, expected.text);
}

ls_status ls_h5_read_record(const ls_h5_file *file, ls_record *record) {
    ls_status status = LS_OK;
    hid_t dataset = 0, type = 0, space = 0;
    LS_TRY_GOTO(status, done, open_object(file, record->path, H5I_DATASET, "dataset", &dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Dget_type(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    LS_TRY_GOTO(status, done, check_type_and_shape(file, record, type, space));
    int64_t bytes = bytes_within(file, record->type, record->dims, record->shape);
    if (bytes < 0) {
        status = ls_fail(LS_BAD_DATA, "%s: %s: found a shape larger than the file", file->path, record->path);
        goto done;
    }
    LS_TRY_GOTO(status, done,
                check_storage(file, record->path, dataset, ls_h5_type_size(record->type), bytes));
    if (bytes > 0)
        LS_H5(status, done, LS_BAD_DATA, file->path,
              H5Dread(dataset, ls_h5_memory_type(record->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, record->data));
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(dataset);
    return status;
}

int ls_h5_shape(const ls_h5_file *file, const char *path, int64_t shape[4]) {
    hid_t dataset = 0, space = 0;
    int dims = -1;
    if (open_object(file, path, H5I_DATASET, "dataset", &dataset) != LS_OK ||
        (space = H5Dget_space(dataset)) < 0 || shape_of(file, space, &dims, shape) != LS_OK ||
        bytes_within(file, LS_RECORD_F32, dims, shape) < 0)
        dims = -1;
    ls_h5_close_id(space);
    ls_h5_close_id(dataset);
    return dims;
}

int64_t ls_h5_length(const ls_h5_file *file, const char *path) {
    int64_t shape[4];
    return ls_h5_shape(file, path, shape) == 1 ? shape[0] : -1;
}

/* ---- texts and attributes ---- */

/* Size of a scalar string of fixed length within the limit. */
static ls_status text_size(const ls_h5_file *file, const char *path, hid_t type, hid_t space, size_t *size) {
    *size = H5Tget_size(type);
    if (H5Tis_variable_str(type) != 0)
        return ls_fail(LS_BAD_DATA, "%s: %s: found a string of variable length, expected one of fixed length",
                       file->path, path);
    if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_type(space) != H5S_SCALAR)
        return ls_fail(LS_BAD_DATA, "%s: %s: found %s%s, expected one string of fixed length", file->path,
                       path, name_of_type(type),
                       H5Sget_simple_extent_type(space) == H5S_SCALAR ? "" : " array");
    if (*size < 1 || *size > LS_H5_TEXT_LIMIT || *size > file->image.size)
        return ls_fail(LS_BAD_DATA, "%s: %s: found a text of %zu bytes, expected at most %zu", file->path,
                       path, *size, LS_H5_TEXT_LIMIT);
    return LS_OK;
}

ls_status ls_h5_read_text(const ls_h5_file *file, const char *path, char **text) {
    ls_status status = LS_OK;
    hid_t dataset = 0, type = 0, space = 0;
    size_t size = 0;
    *text = NULL;
    LS_TRY_GOTO(status, done, open_object(file, path, H5I_DATASET, "dataset", &dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Dget_type(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    LS_TRY_GOTO(status, done, text_size(file, path, type, space, &size));
    LS_TRY_GOTO(status, done, check_storage(file, path, dataset, size, (int64_t)size));
    LS_TRY_GOTO(status, done, ls_calloc(text, size + 1, 1, "a text"));
    LS_H5(status, done, LS_BAD_DATA, file->path,
          H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text));
    if (size == 1 && (*text)[0] == '\0') size = 0;
    if (!ls_h5_text_ok(*text, size))
        status = ls_fail(LS_BAD_DATA, "%s: %s: found control characters or broken UTF-8, expected plain text",
                         file->path, path);
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(dataset);
    if (status != LS_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

/* An attribute of a group, exactly a scalar of this type. *there (NULL: it must be) says if there is one. */
static ls_status read_attribute(const ls_h5_file *file, const char *group, const char *name,
                                ls_record_type expected, void *value, int *there) {
    ls_status status = LS_OK;
    hid_t object = 0, attribute = 0, type = 0, space = 0;
    htri_t found;
    LS_TRY_GOTO(status, done, open_object(file, group, H5I_GROUP, "group", &object));
    LS_H5(status, done, LS_BAD_DATA, file->path, found = H5Aexists(object, name));
    if (there) *there = found > 0;
    if (!found) {
        if (!there) status = ls_fail(LS_BAD_DATA, "%s: %s: found no attribute %s", file->path, group, name);
        goto done;
    }
    LS_H5(status, done, LS_BAD_DATA, file->path, attribute = H5Aopen(object, name, H5P_DEFAULT));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Aget_type(attribute));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Aget_space(attribute));
    if (H5Tequal(type, ls_h5_stored_type(expected)) <= 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
        status = ls_fail(LS_BAD_DATA, "%s: %s: attribute %s: found %s%s, expected %s scalar", file->path,
                         group, name, name_of_type(type), array_suffix(space), ls_h5_type_name(expected));
        goto done;
    }
    LS_H5(status, done, LS_BAD_DATA, file->path, H5Aread(attribute, ls_h5_memory_type(expected), value));
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(attribute);
    ls_h5_close_id(object);
    return status;
}

ls_status ls_h5_read_u64(const ls_h5_file *file, const char *group, const char *name, uint64_t limit,
                         uint64_t *value) {
    LS_TRY(read_attribute(file, group, name, LS_RECORD_U64, value, NULL));
    if (*value <= limit) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: %s: attribute %s: found %" PRIu64 ", expected at most %" PRIu64,
                   file->path, group, name, *value, limit);
}

ls_status ls_h5_read_f64(const ls_h5_file *file, const char *group, const char *name, double *value,
                         int *there) {
    return read_attribute(file, group, name, LS_RECORD_F64, value, there);
}
