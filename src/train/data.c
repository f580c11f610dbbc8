#include "train/data.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "io/reader.h"

/* Digests of the sets that people have, so that a run can say which it used. */
static const struct {
    uint64_t digest;
    const char *name;
} known_sets[] = {
    {UINT64_C(0xf109842281ee1840), "MNIST"},
    {UINT64_C(0x9ec5fe866d233d3a), "Fashion-MNIST"},
};

static uint64_t digest_set(const ls_dataset *set, uint64_t seed) {
    int64_t sizes[3] = {set->count, set->height, set->width};
    size_t bytes = (size_t)set->count * (size_t)set->height * (size_t)set->width;
    seed = XXH3_64bits_withSeed(sizes, sizeof sizes, seed);
    seed = XXH3_64bits_withSeed(set->images, bytes, seed);
    return XXH3_64bits_withSeed(set->labels, (size_t)set->count, seed);
}

static const char *name_of(uint64_t digest) {
    for (size_t i = 0; i < sizeof known_sets / sizeof *known_sets; i++)
        if (known_sets[i].digest == digest) return known_sets[i].name;
    return "unknown";
}

static ls_status find_folder(const char *folder, char **found) {
    static const char *const usual[] = {"data/mnist", "/usr/share/datasets/fashion-mnist"};
    const char *variable = getenv("LOCKSTEP_DATA");
    struct stat info;
    if (*folder) return ls_strdup(found, folder);
    if (variable && *variable) return ls_strdup(found, variable);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (stat(usual[i], &info) == 0 && S_ISDIR(info.st_mode)) return ls_strdup(found, usual[i]);
    return ls_fail(LS_BAD_DATA,
                   "no data: give data=FOLDER or LOCKSTEP_DATA, or put the four IDX files into data/mnist "
                   "(launch/quickstart.sh fetches them)");
}

static ls_status open_data(const char *folder, ls_reader **reader) {
    char *path;
    LS_TRY(find_folder(folder, &path));
    ls_status status = ls_reader_open(path, reader);
    free(path);
    return status;
}

static ls_status read_sets(const char *folder, ls_data *data) {
    ls_reader *reader;
    LS_TRY(open_data(folder, &reader));
    ls_status status = ls_reader_read_all(reader, &data->train, &data->test);
    if (status == LS_OK) status = ls_strdup(&data->folder, reader->path);
    ls_reader_close(&reader);
    LS_TRY(status);
    data->digest = digest_set(&data->test, digest_set(&data->train, 0));
    return LS_OK;
}

ls_status ls_data_sizes(const char *folder, ls_dataset *sizes, char **found) {
    ls_reader *reader;
    *found = NULL;
    LS_TRY(open_data(folder, &reader));
    ls_status status = ls_reader_sizes(reader, LS_DATA_TRAIN, sizes);
    if (status == LS_OK) status = ls_strdup(found, reader->path);
    ls_reader_close(&reader);
    return status;
}

/* Sends one set; ranks other than 0 allocate as the header says. */
static ls_status send_set(ls_comm *comm, ls_dataset *set) {
    ls_dataset header = {
        .count = set->count, .height = set->height, .width = set->width, .classes = set->classes};
    ls_status status = LS_OK;
    LS_TRY(ls_comm_broadcast(comm, &header, sizeof header, 0));
    size_t bytes = (size_t)header.count * (size_t)header.height * (size_t)header.width;
    if (comm->rank != 0) {
        *set = (ls_dataset){
            .count = header.count, .height = header.height, .width = header.width, .classes = header.classes};
        status = ls_calloc(&set->images, bytes, 1, "the images");
        if (status == LS_OK) status = ls_calloc(&set->labels, (size_t)set->count, 1, "the labels");
    }
    LS_TRY(ls_comm_agree(comm, status));
    LS_TRY(ls_comm_broadcast(comm, set->images, bytes, 0));
    return ls_comm_broadcast(comm, set->labels, (size_t)set->count, 0);
}

void ls_shuffle(uint64_t seed, ls_rng_purpose purpose, uint32_t time, uint32_t *items, int64_t count) {
    ls_rng rng = ls_rng_stream(seed, purpose, 0, time, 0);
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)i, words);
        int64_t j = (int64_t)ls_rng_below(words[0], words[1], (uint64_t)i + 1);
        uint32_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

static ls_status cut(ls_data *data, int64_t split, uint64_t seed) {
    if (split > data->train.count)
        return ls_fail(LS_USAGE, "split: found %lld, expected at most the %lld training samples in %s",
                       (long long)split, (long long)data->train.count, data->folder);
    LS_TRY(ls_calloc(&data->split, (size_t)data->train.count, sizeof *data->split, "the split"));
    for (int64_t i = 0; i < data->train.count; i++) data->split[i] = (uint32_t)i;
    ls_shuffle(seed, LS_RNG_SPLIT, 0, data->split, data->train.count);
    data->training = split;
    data->validation = data->train.count - split;
    return LS_OK;
}

ls_status ls_data_load(ls_comm *comm, const char *folder, int64_t split, uint64_t seed, ls_data *data) {
    *data = (ls_data){0};
    comm->phase = "reading data";
    LS_TRY(ls_comm_agree(comm, comm->rank == 0 ? read_sets(folder, data) : LS_OK));
    LS_TRY(ls_comm_broadcast(comm, &data->digest, sizeof data->digest, 0));
    LS_TRY(send_set(comm, &data->train));
    LS_TRY(send_set(comm, &data->test));
    LS_TRY(ls_comm_agree(comm, data->folder ? LS_OK : ls_strdup(&data->folder, "the data")));
    data->name = name_of(data->digest);
    return ls_comm_agree(comm, cut(data, split, seed));
}

void ls_data_destroy(ls_data *data) {
    free(data->folder);
    free(data->split);
    ls_dataset_destroy(&data->train);
    ls_dataset_destroy(&data->test);
    *data = (ls_data){0};
}
