/* Only what has the type, shape and storage that was asked for. */
#include "io/hdf5_parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file ---- */

ls_status ls_parse_open(const char *path, unsigned char *image, size_t size, ls_h5_file **file) {
    hid_t access = 0;
    ls_status status = LS_OK;
    *file = NULL;
    status = ls_calloc(file, 1, sizeof **file, "an HDF5 file");
    if (status != LS_OK) {
        free(image);
        return status;
    }
    (*file)->image.data = image;
    (*file)->image.size = (*file)->image.capacity = size;
    LS_TRY_GOTO(status, done, ls_h5_start());
    LS_TRY_GOTO(status, done, ls_strdup(&(*file)->path, path));
    LS_TRY_GOTO(status, done, ls_h5_image_access(&(*file)->image, 1, path, &access));
    /* A name of its own: HDF5 takes two open files of one name for the same one. */
    char name[64];
    snprintf(name, sizeof name, "lockstep-in-memory-%p", (void *)*file);
    LS_H5(status, done, LS_BAD_DATA, path, (*file)->id = H5Fopen(name, H5F_ACC_RDONLY, access));
done:
    ls_h5_close_id(access);
    if (status != LS_OK) ls_h5_release(file);
    return status;
}

ls_status ls_buffer_reserve(ls_buffer *buffer, size_t size) {
    if (size <= buffer->capacity) return LS_OK;
    size_t capacity = size > 2 * buffer->capacity ? size : 2 * buffer->capacity;
    char *data = realloc(buffer->data, capacity);
    if (!data) return ls_fail(LS_INTERNAL, "out of memory: %zu bytes of a file", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return LS_OK;
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

int ls_parse_has(const ls_h5_file *file, const char *path) {
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

typedef struct name_list {
    const ls_h5_file *file;
    ls_buffer *names;
    ls_status status;
} name_list;

static ls_status add_name(name_list *list, const char *name) {
    size_t size = strlen(name) + 1;
    if (size > list->file->image.size - list->names->size)
        return ls_fail(LS_BAD_DATA, "%s: found more names in a group than the file holds", list->file->path);
    LS_TRY(ls_buffer_reserve(list->names, list->names->size + size));
    memcpy(list->names->data + list->names->size, name, size);
    list->names->size += size;
    return LS_OK;
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *info, void *client) {
    name_list *list = client;
    (void)group;
    (void)info;
    list->status = add_name(list, name);
    return list->status == LS_OK ? 0 : 1; /* 1 ends the walk and is no failure of HDF5's */
}

ls_status ls_parse_names(const ls_h5_file *file, const char *group, ls_buffer *names) {
    name_list list = {file, names, LS_OK};
    ls_status status = LS_OK;
    hid_t object = 0;
    H5G_info_t info;
    names->size = 0;
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
          H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, &list));
    status = list.status;
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

/* `stored` NULL: none that compresses; otherwise it says whether there is one. */
static ls_status check_filters(const ls_h5_file *file, const char *path, hid_t list, ls_stored *stored) {
    ls_status status = LS_OK;
    int filters;
    LS_H5(status, done, LS_BAD_DATA, file->path, filters = H5Pget_nfilters(list));
    for (int i = 0; i < filters; i++) {
        unsigned flags, config;
        size_t values = 0;
        H5Z_filter_t filter;
        LS_H5(status, done, LS_BAD_DATA, file->path,
              filter = H5Pget_filter2(list, (unsigned)i, &flags, &values, NULL, 0, NULL, &config));
        if (filter == H5Z_FILTER_FLETCHER32 || (stored && filter == H5Z_FILTER_SHUFFLE)) continue;
        if (!stored || filter != H5Z_FILTER_DEFLATE)
            return ls_fail(LS_BAD_DATA, "%s: %s: found filter %d, expected none but %sFletcher32 (%d)",
                           file->path, path, filter, stored ? "gzip (1), shuffle (2) and " : "",
                           H5Z_FILTER_FLETCHER32);
        stored->compressed = 1;
    }
done:
    return status;
}

/* Everything in this file and there in full, nothing that runs code or reads other files. */
static ls_status check_storage(const ls_h5_file *file, const char *path, hid_t dataset, size_t element,
                               int64_t bytes, ls_stored *stored) {
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
    LS_H5(status, done, LS_BAD_DATA, file->path, external = H5Pget_external_count(list));
    if (external > 0) {
        status =
            ls_fail(LS_BAD_DATA, "%s: %s: found data in external files, expected none", file->path, path);
        goto done;
    }
    LS_TRY_GOTO(status, done, check_filters(file, path, list, stored));
    if (stored && stored->compressed) {
        status = ls_h5_check_compressed(file, path, dataset, list, element, bytes);
        goto done;
    }
    if (layout == H5D_CHUNKED) LS_TRY_GOTO(status, done, check_chunks(file, path, list, element));
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
                                      hid_t space, ls_stored *stored) {
    int dims;
    int64_t shape[4] = {0};
    LS_TRY(shape_of(file, space, &dims, shape));
    if (stored) stored->type = ls_h5_convertible(type, record->type);
    int equal = dims == record->dims &&
                (stored ? stored->type >= 0 : H5Tequal(type, ls_h5_stored_type(record->type)) > 0);
    for (int i = 0; equal && i < dims; i++) equal = shape[i] == record->shape[i];
    if (equal) return LS_OK;
    ls_h5_shape_text found = ls_h5_describe(name_of_type(type), dims < 0 ? 0 : dims, shape);
    ls_h5_shape_text expected = ls_h5_describe(ls_h5_type_name(record->type), record->dims, record->shape);
    return ls_fail(LS_BAD_DATA, "%s: %s: found %s, expected %s", file->path, record->path,
                   dims < 0 ? "an array of unusual shape" : found.text, expected.text);
}

ls_status ls_parse_record(const ls_h5_file *file, const ls_record *record, ls_stored *stored,
                          ls_buffer *data) {
    ls_status status = LS_OK;
    hid_t dataset = 0, type = 0, space = 0;
    LS_TRY_GOTO(status, done, open_object(file, record->path, H5I_DATASET, "dataset", &dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Dget_type(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    LS_TRY_GOTO(status, done, check_type_and_shape(file, record, type, space, stored));
    const size_t element = H5Tget_size(type);
    const uint64_t most = (uint64_t)file->image.size * (stored ? LS_DEFLATE_RATIO : 1);
    int64_t bytes = ls_h5_bytes_of(most, element, record->dims, record->shape);
    if (bytes < 0) {
        status = ls_fail(LS_BAD_DATA, "%s: %s: found a shape larger than the file", file->path, record->path);
        goto done;
    }
    LS_TRY_GOTO(status, done, check_storage(file, record->path, dataset, element, bytes, stored));
    const size_t converted = (size_t)bytes / element * ls_h5_type_size(record->type);
    LS_TRY_GOTO(status, done, ls_buffer_reserve(data, converted));
    data->size = converted;
    if (bytes > 0)
        LS_H5(status, done, LS_BAD_DATA, file->path,
              H5Dread(dataset, ls_h5_memory_type(record->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data->data));
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(dataset);
    return status;
}

int ls_parse_shape(const ls_h5_file *file, const char *path, int64_t shape[4]) {
    hid_t dataset = 0, space = 0;
    int dims = -1;
    if (open_object(file, path, H5I_DATASET, "dataset", &dataset) != LS_OK ||
        (space = H5Dget_space(dataset)) < 0 || shape_of(file, space, &dims, shape) != LS_OK ||
        ls_h5_bytes_within(file, LS_RECORD_F32, dims, shape) < 0)
        dims = -1;
    ls_h5_close_id(space);
    ls_h5_close_id(dataset);
    return dims;
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

ls_status ls_parse_text(const ls_h5_file *file, const char *path, ls_buffer *text) {
    ls_status status = LS_OK;
    hid_t dataset = 0, type = 0, space = 0;
    size_t size = 0;
    LS_TRY_GOTO(status, done, open_object(file, path, H5I_DATASET, "dataset", &dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Dget_type(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    LS_TRY_GOTO(status, done, text_size(file, path, type, space, &size));
    LS_TRY_GOTO(status, done, check_storage(file, path, dataset, size, (int64_t)size, NULL));
    LS_TRY_GOTO(status, done, ls_buffer_reserve(text, size));
    LS_H5(status, done, LS_BAD_DATA, file->path,
          H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text->data));
    text->size = size == 1 && text->data[0] == '\0' ? 0 : size;
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(dataset);
    return status;
}

ls_status ls_parse_attribute(const ls_h5_file *file, const char *group, const char *name,
                             ls_record_type expected, uint64_t *bits, int *there) {
    ls_status status = LS_OK;
    hid_t object = 0, attribute = 0, type = 0, space = 0;
    htri_t found;
    LS_TRY_GOTO(status, done, open_object(file, group, H5I_GROUP, "group", &object));
    LS_H5(status, done, LS_BAD_DATA, file->path, found = H5Aexists(object, name));
    *there = found > 0;
    if (!found) goto done;
    LS_H5(status, done, LS_BAD_DATA, file->path, attribute = H5Aopen(object, name, H5P_DEFAULT));
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Aget_type(attribute));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Aget_space(attribute));
    if (H5Tequal(type, ls_h5_stored_type(expected)) <= 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
        status = ls_fail(LS_BAD_DATA, "%s: %s: attribute %s: found %s%s, expected %s scalar", file->path,
                         group, name, name_of_type(type), array_suffix(space), ls_h5_type_name(expected));
        goto done;
    }
    LS_H5(status, done, LS_BAD_DATA, file->path, H5Aread(attribute, ls_h5_memory_type(expected), bits));
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(attribute);
    ls_h5_close_id(object);
    return status;
}

/* ---- all that is there ---- */

/* How deep groups lie in a file of ours, and more. */
enum { DEEPEST = 16 };

/* Memory for so many points of a type, if the file can hold them; 0 where they have no fixed size, which
 * nobody reads. */
static ls_status size_of_values(const ls_h5_file *file, const char *path, hid_t type, hid_t space,
                                uint64_t *size) {
    uint64_t element = H5Tget_size(type);
    hssize_t points = H5Sget_simple_extent_npoints(space);
    H5T_class_t class = H5Tget_class(type);
    *size = 0;
    if (class != H5T_INTEGER && class != H5T_FLOAT && class != H5T_STRING) return LS_OK;
    if (H5Tis_variable_str(type) != 0) return LS_OK;
    if (element == 0 || points < 0 || (uint64_t)points > file->image.size / element)
        return ls_fail(LS_BAD_DATA, "%s: %s: found more values than the file holds", file->path, path);
    *size = element * (uint64_t)points;
    return LS_OK;
}

static ls_status read_all_attributes(const ls_h5_file *file, const char *path, hid_t object,
                                     ls_buffer *data) {
    ls_status status = LS_OK;
    hid_t attribute = 0, type = 0, space = 0;
    int count;
    LS_H5(status, done, LS_BAD_DATA, file->path, count = H5Aget_num_attrs(object));
    for (int i = 0; i < count && status == LS_OK; i++) {
        uint64_t size;
        LS_H5(status, done, LS_BAD_DATA, file->path,
              attribute = H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i, H5P_DEFAULT,
                                         H5P_DEFAULT));
        LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Aget_type(attribute));
        LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Aget_space(attribute));
        LS_TRY_GOTO(status, done, size_of_values(file, path, type, space, &size));
        LS_TRY_GOTO(status, done, ls_buffer_reserve(data, (size_t)size));
        if (size > 0) LS_H5(status, done, LS_BAD_DATA, file->path, H5Aread(attribute, type, data->data));
        ls_h5_close_id(space);
        ls_h5_close_id(type);
        ls_h5_close_id(attribute);
        attribute = type = space = 0;
    }
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    ls_h5_close_id(attribute);
    return status;
}

static ls_status read_all_values(const ls_h5_file *file, const char *path, hid_t dataset, ls_buffer *data) {
    ls_status status = LS_OK;
    hid_t type = 0, space = 0;
    uint64_t size;
    LS_H5(status, done, LS_BAD_DATA, file->path, type = H5Dget_type(dataset));
    LS_H5(status, done, LS_BAD_DATA, file->path, space = H5Dget_space(dataset));
    LS_TRY_GOTO(status, done, size_of_values(file, path, type, space, &size));
    LS_TRY_GOTO(status, done, check_storage(file, path, dataset, H5Tget_size(type), (int64_t)size, NULL));
    LS_TRY_GOTO(status, done, ls_buffer_reserve(data, (size_t)size));
    if (size > 0)
        LS_H5(status, done, LS_BAD_DATA, file->path,
              H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data->data));
done:
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    return status;
}

/* `left`: objects that may still come, so that groups which hold each other end. */
static ls_status read_all_of(const ls_h5_file *file, const char *path, int depth, int *left);

/* An object's attributes and values; of a group, each member in turn. */
static ls_status read_members(const ls_h5_file *file, const char *group, int depth, int *left) {
    ls_buffer names = {0};
    char *path = NULL;
    ls_status status = ls_parse_names(file, group, &names);
    for (size_t at = 0; at < names.size && status == LS_OK; at += strlen(names.data + at) + 1) {
        size_t size = strlen(group) + strlen(names.data + at) + 2;
        status = ls_calloc(&path, size, 1, "a name");
        if (status != LS_OK) break;
        snprintf(path, size, "%s%s%s", group, *group ? "/" : "", names.data + at);
        status = read_all_of(file, path, depth + 1, left);
        free(path);
    }
    free(names.data);
    return status;
}

static ls_status read_all_of(const ls_h5_file *file, const char *path, int depth, int *left) {
    ls_status status = LS_OK;
    hid_t object = 0;
    ls_buffer data = {0};
    if (depth > DEEPEST || --*left < 0)
        return ls_fail(LS_BAD_DATA, "%s: %s: found groups in groups without an end", file->path, path);
    LS_TRY(check_links(file, path));
    LS_H5(status, done, LS_BAD_DATA, file->path, object = H5Oopen(file->id, *path ? path : "/", H5P_DEFAULT));
    H5I_type_t kind = H5Iget_type(object);
    LS_TRY_GOTO(status, done, read_all_attributes(file, path, object, &data));
    if (kind == H5I_DATASET) LS_TRY_GOTO(status, done, read_all_values(file, path, object, &data));
    if (kind == H5I_GROUP) LS_TRY_GOTO(status, done, read_members(file, path, depth, left));
done:
    free(data.data);
    ls_h5_close_id(object);
    return status;
}

ls_status ls_parse_whole(const ls_h5_file *file) {
    int left = LS_H5_LINK_LIMIT;
    return read_all_of(file, "", 0, &left);
}
