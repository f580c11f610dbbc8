/* Writing: into an image in memory, then sealed into a file that is whole or not there. */
#include "io/hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/atomic_file.h"
#include "io/seal.h"

/* Bytes of a chunk at most; HDF5 keeps about as much in its cache by default. */
static const uint64_t chunk_limit = 1 << 20;

/* Links in creation order (PyTorch's order of a state_dict), no times: equal content gives equal bytes. */
static ls_status group_list(const char *path, hid_t class, hid_t *list) {
    ls_status status = LS_OK;
    LS_H5(status, done, LS_INTERNAL, path, *list = H5Pcreate(class));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_obj_track_times(*list, 0));
    LS_H5(status, done, LS_INTERNAL, path,
          H5Pset_link_creation_order(*list, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED));
done:
    return status;
}

ls_status ls_h5_create(const char *path, ls_h5_file **file) {
    hid_t creation = 0, access = 0;
    ls_status status = LS_OK;
    *file = NULL;
    LS_TRY(ls_h5_start());
    LS_TRY(ls_calloc(file, 1, sizeof **file, "an HDF5 file"));
    LS_TRY_GOTO(status, done, ls_strdup(&(*file)->path, path));
    LS_TRY_GOTO(status, done, ls_h5_image_access(&(*file)->image, 0, path, &access));
    LS_TRY_GOTO(status, done, group_list(path, H5P_FILE_CREATE, &creation));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_userblock(creation, LS_SEAL_SIZE));
    /* HDF5 takes two open files of one name for the same one, and looks for no file where it has no disk. */
    char name[64];
    snprintf(name, sizeof name, "lockstep-in-memory-%p", (void *)*file);
    LS_H5(status, done, LS_INTERNAL, path, (*file)->id = H5Fcreate(name, H5F_ACC_EXCL, creation, access));
done:
    ls_h5_close_id(creation);
    ls_h5_close_id(access);
    if (status != LS_OK) ls_h5_discard(file);
    return status;
}

/* One group that may be there already; the ones above it are. */
static ls_status make_group(ls_h5_file *file, const char *path) {
    ls_status status = LS_OK;
    hid_t list = 0, group = 0;
    htri_t there;
    LS_TRY(ls_h5_reserve(file, 0));
    LS_H5(status, done, LS_INTERNAL, file->path, there = H5Lexists(file->id, path, H5P_DEFAULT));
    if (there) return LS_OK;
    LS_TRY_GOTO(status, done, group_list(file->path, H5P_GROUP_CREATE, &list));
    LS_H5(status, done, LS_INTERNAL, file->path,
          group = H5Gcreate2(file->id, path, H5P_DEFAULT, list, H5P_DEFAULT));
    LS_H5(status, done, LS_INTERNAL, file->path, H5Gclose(group));
done:
    ls_h5_close_id(list);
    return status;
}

ls_status ls_h5_group(ls_h5_file *file, const char *path) {
    char *prefix = NULL;
    ls_status status = LS_OK;
    LS_TRY(ls_strdup(&prefix, path));
    for (char *end = prefix; status == LS_OK && *end;) {
        end += strcspn(end, "/");
        char kept = *end;
        *end = '\0';
        status = make_group(file, prefix);
        *end = kept;
        if (kept) end++;
    }
    free(prefix);
    return status;
}

static ls_status make_parents(ls_h5_file *file, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return LS_OK;
    char *parent = strndup(path, (size_t)(slash - path));
    if (!parent) return ls_fail(LS_INTERNAL, "%s: out of memory for a name", file->path);
    ls_status status = ls_h5_group(file, parent);
    free(parent);
    return status;
}

/* Whole if small; else cut along the first axes, so that a chunk is a run of the array's memory, into pieces
 * as equal as can be: the last one is padded to the size of the others. */
static void chunk_shape(const ls_record *record, hsize_t *chunk) {
    uint64_t bytes = ls_h5_type_size(record->type);
    for (int i = 0; i < record->dims; i++) {
        chunk[i] = (hsize_t)record->shape[i];
        bytes *= chunk[i];
    }
    for (int i = 0; i < record->dims && bytes > chunk_limit; i++) {
        uint64_t length = chunk[i], row = bytes / length;
        uint64_t most = row < chunk_limit ? chunk_limit / row : 1, pieces = (length + most - 1) / most;
        chunk[i] = (length + pieces - 1) / pieces;
        bytes = row * chunk[i];
    }
}

/* Layout of a record. Fletcher32 needs chunks, and chunks need at least one element along every axis; scalars
 * live in the object's header, which has a checksum of its own. */
static ls_status dataset_list(const char *path, const ls_record *record, int empty, hid_t *list) {
    ls_status status = LS_OK;
    hsize_t chunk[4];
    LS_H5(status, done, LS_INTERNAL, path, *list = H5Pcreate(H5P_DATASET_CREATE));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_obj_track_times(*list, 0));
    if (record->dims == 0 || empty) {
        LS_H5(status, done, LS_INTERNAL, path, H5Pset_layout(*list, H5D_COMPACT));
        return LS_OK;
    }
    chunk_shape(record, chunk);
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_chunk(*list, record->dims, chunk));
    LS_H5(status, done, LS_INTERNAL, path, H5Pset_fletcher32(*list));
done:
    return status;
}

/* Refuses what cannot be written and makes room for the rest. */
static ls_status check_shape(ls_h5_file *file, const ls_record *record, int *empty) {
    uint64_t bytes = ls_h5_type_size(record->type);
    if (record->dims < 0 || record->dims > 4)
        return ls_fail(LS_INTERNAL, "%s: %s has %d dimensions, at most 4 are stored", file->path,
                       record->path, record->dims);
    *empty = 0;
    for (int i = 0; i < record->dims; i++) {
        if (record->shape[i] < 0)
            return ls_fail(LS_INTERNAL, "%s: %s has a negative dimension", file->path, record->path);
        if (record->shape[i] == 0) *empty = 1;
    }
    for (int i = 0; i < record->dims && !*empty; i++) {
        if ((uint64_t)record->shape[i] > LS_H5_FILE_LIMIT / bytes)
            return ls_fail(LS_INTERNAL, "%s: %s is larger than a file may be (4 GiB)", file->path,
                           record->path);
        bytes *= (uint64_t)record->shape[i];
    }
    return ls_h5_reserve(file, *empty ? 0 : bytes);
}

static ls_status write_dataset(ls_h5_file *file, const char *path, hid_t stored, hid_t memory, hid_t space,
                               hid_t list, const void *data) {
    ls_status status = LS_OK;
    hid_t dataset = 0;
    LS_TRY(make_parents(file, path));
    LS_H5(status, done, LS_INTERNAL, file->path,
          dataset = H5Dcreate2(file->id, path, stored, space, H5P_DEFAULT, list, H5P_DEFAULT));
    if (data)
        LS_H5(status, done, LS_INTERNAL, file->path,
              H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    hid_t closing = dataset;
    dataset = 0;
    LS_H5(status, done, LS_INTERNAL, file->path, H5Dclose(closing));
done:
    ls_h5_close_id(dataset);
    return status;
}

ls_status ls_h5_write_record(ls_h5_file *file, const ls_record *record) {
    ls_status status = LS_OK;
    hid_t space = 0, list = 0;
    hsize_t shape[4];
    int empty = 0;
    LS_TRY(check_shape(file, record, &empty));
    for (int i = 0; i < record->dims; i++) shape[i] = (hsize_t)record->shape[i];
    LS_H5(status, done, LS_INTERNAL, file->path,
          space = record->dims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(record->dims, shape, NULL));
    LS_TRY_GOTO(status, done, dataset_list(file->path, record, empty, &list));
    LS_TRY_GOTO(status, done,
                write_dataset(file, record->path, ls_h5_stored_type(record->type),
                              ls_h5_memory_type(record->type), space, list, empty ? NULL : record->data));
done:
    ls_h5_close_id(list);
    ls_h5_close_id(space);
    return status;
}

static ls_status text_type(const char *path, size_t length, hid_t *type) {
    ls_status status = LS_OK;
    LS_H5(status, done, LS_INTERNAL, path, *type = H5Tcopy(H5T_C_S1));
    LS_H5(status, done, LS_INTERNAL, path, H5Tset_size(*type, length > 0 ? length : 1));
    LS_H5(status, done, LS_INTERNAL, path, H5Tset_strpad(*type, H5T_STR_NULLPAD));
    LS_H5(status, done, LS_INTERNAL, path, H5Tset_cset(*type, H5T_CSET_UTF8));
done:
    return status;
}

ls_status ls_h5_write_text(ls_h5_file *file, const char *path, const char *text) {
    ls_status status = LS_OK;
    hid_t type = 0, space = 0, list = 0;
    size_t length = strlen(text);
    if (!ls_h5_text_ok(text, length))
        return ls_fail(LS_INTERNAL,
                       "%s: the text for %s has control characters, is not UTF-8 or exceeds 1 MiB",
                       file->path, path);
    LS_TRY(ls_h5_reserve(file, length));
    LS_TRY_GOTO(status, done, text_type(file->path, length, &type));
    LS_H5(status, done, LS_INTERNAL, file->path, space = H5Screate(H5S_SCALAR));
    LS_H5(status, done, LS_INTERNAL, file->path, list = H5Pcreate(H5P_DATASET_CREATE));
    LS_H5(status, done, LS_INTERNAL, file->path, H5Pset_obj_track_times(list, 0));
    LS_TRY_GOTO(status, done, write_dataset(file, path, type, type, space, list, text));
done:
    ls_h5_close_id(list);
    ls_h5_close_id(space);
    ls_h5_close_id(type);
    return status;
}

static ls_status write_attribute(ls_h5_file *file, const char *group, const char *name, hid_t stored,
                                 hid_t memory, hsize_t count, const void *value) {
    ls_status status = LS_OK;
    hid_t space = 0, attribute = 0;
    LS_TRY(ls_h5_reserve(file, H5Tget_size(stored) * (count + 1)));
    LS_H5(status, done, LS_INTERNAL, file->path,
          space = count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL));
    LS_H5(status, done, LS_INTERNAL, file->path,
          attribute = H5Acreate_by_name(file->id, group[0] ? group : "/", name, stored, space, H5P_DEFAULT,
                                        H5P_DEFAULT, H5P_DEFAULT));
    LS_H5(status, done, LS_INTERNAL, file->path, H5Awrite(attribute, memory, value));
    hid_t closing = attribute;
    attribute = 0;
    LS_H5(status, done, LS_INTERNAL, file->path, H5Aclose(closing));
done:
    ls_h5_close_id(attribute);
    ls_h5_close_id(space);
    return status;
}

ls_status ls_h5_attribute_u64(ls_h5_file *file, const char *group, const char *name, uint64_t value) {
    return write_attribute(file, group, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, 0, &value);
}

ls_status ls_h5_attribute_f64(ls_h5_file *file, const char *group, const char *name, double value) {
    return write_attribute(file, group, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, &value);
}

ls_status ls_h5_attribute_text(ls_h5_file *file, const char *group, const char *name, const char *text) {
    hid_t type = 0;
    ls_status status = text_type(file->path, strlen(text), &type);
    if (status == LS_OK) status = write_attribute(file, group, name, type, type, 0, text);
    ls_h5_close_id(type);
    return status;
}

ls_status ls_h5_attribute_texts(ls_h5_file *file, const char *group, const char *name,
                                const char *const *texts, int count) {
    hid_t type = 0;
    char *cells = NULL;
    size_t width = 1;
    ls_status status = LS_OK;
    for (int i = 0; i < count; i++)
        if (strlen(texts[i]) > width) width = strlen(texts[i]);
    LS_TRY(ls_calloc(&cells, (size_t)count, width, "a list of names"));
    for (int i = 0; i < count; i++) memcpy(cells + (size_t)i * width, texts[i], strlen(texts[i]));
    LS_TRY_GOTO(status, done, text_type(file->path, width, &type));
    LS_TRY_GOTO(status, done, write_attribute(file, group, name, type, type, (hsize_t)count, cells));
done:
    ls_h5_close_id(type);
    free(cells);
    return status;
}

ls_status ls_h5_commit(ls_h5_file *file, const char *kind, uint32_t version) {
    ls_status status = LS_OK;
    LS_TRY(ls_h5_reserve(file, 0));
    LS_H5(status, done, LS_INTERNAL, file->path, H5Fflush(file->id, H5F_SCOPE_GLOBAL));
    LS_TRY_GOTO(status, done, ls_h5_close(file));
    /* HDF5 gave room back at the end. A program that opens the file for writing, and changes nothing, would cut
     * it there, and the seal would no longer be of it. */
    uint64_t end = ls_h5_end(file->image.data + LS_SEAL_SIZE, file->image.size - LS_SEAL_SIZE);
    if (end > LS_SEAL_SIZE && end < file->image.size) file->image.size = (size_t)end;
    ls_seal_write(file->image.data, file->image.size, kind, version);
    status = ls_atomic_write(file->path, file->image.data, file->image.size, LS_READ_ONLY);
done:
    return status;
}
