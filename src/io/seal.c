#include "io/seal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

static const unsigned char magic[16] = "\211lockstep\r\n\032\n";

enum {
    KIND_AT = 16,
    KIND_SIZE = 16,
    VERSION_AT = 32,
    LENGTH_AT = 40,
    DIGEST_AT = 48,
    DIGEST_SIZE = 16,
    END_AT = 64
};

static void put(unsigned char *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void digest(const unsigned char *file, size_t size, unsigned char out[DIGEST_SIZE]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(file + LS_SEAL_SIZE, size - LS_SEAL_SIZE));
    memcpy(out, canonical.digest, DIGEST_SIZE);
}

static void hex(const unsigned char bytes[DIGEST_SIZE], char out[2 * DIGEST_SIZE + 1]) {
    for (int i = 0; i < DIGEST_SIZE; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* A name that may come from a stranger's file, fit for a terminal. */
static void printable_kind(const unsigned char *at, char out[KIND_SIZE + 1]) {
    int i = 0;
    for (; i < KIND_SIZE && at[i]; i++) out[i] = at[i] >= 0x20 && at[i] < 0x7f ? (char)at[i] : '?';
    out[i] = '\0';
}

void ls_seal_write(unsigned char *file, size_t size, const char *kind, uint32_t version) {
    memset(file, 0, LS_SEAL_SIZE);
    memcpy(file, magic, sizeof magic);
    for (int i = 0; i < KIND_SIZE && kind[i]; i++) file[KIND_AT + i] = (unsigned char)kind[i];
    put(file + VERSION_AT, version, 4);
    put(file + LENGTH_AT, size, 8);
    digest(file, size, file + DIGEST_AT);
}

ls_status ls_seal_renew(unsigned char *file, size_t size, const char *path) {
    if (size < LS_SEAL_SIZE || memcmp(file, magic, sizeof magic) != 0)
        return ls_fail(LS_BAD_DATA, "%s: found no seal of lockstep at its beginning, expected a file of ours",
                       path);
    put(file + LENGTH_AT, size, 8);
    digest(file, size, file + DIGEST_AT);
    return LS_OK;
}

int ls_seal_is(const unsigned char *seal, const char *kind) {
    unsigned char kind_block[KIND_SIZE] = {0};
    for (int i = 0; i < KIND_SIZE && kind[i]; i++) kind_block[i] = (unsigned char)kind[i];
    return memcmp(seal, magic, sizeof magic) == 0 && memcmp(seal + KIND_AT, kind_block, KIND_SIZE) == 0;
}

uint64_t ls_seal_length(const unsigned char *seal) {
    return get(seal + LENGTH_AT, 8);
}

ls_status ls_seal_check_head(const unsigned char *seal, uint64_t size, const char *kind, uint32_t version,
                             const char *path) {
    if (size < LS_SEAL_SIZE)
        return ls_fail(LS_BAD_DATA, "%s: found %" PRIu64 " bytes, expected a lockstep %s of at least %d",
                       path, size, kind, LS_SEAL_SIZE);
    if (memcmp(seal, magic, sizeof magic) != 0)
        return ls_fail(LS_BAD_DATA,
                       "%s: found no seal of lockstep at its beginning, expected a lockstep %s%s", path, kind,
                       memcmp(seal, "\211HDF", 4) == 0 ? " (this is another program's HDF5 file)" : "");
    if (!ls_seal_is(seal, kind)) {
        char found[KIND_SIZE + 1];
        printable_kind(seal + KIND_AT, found);
        return ls_fail(LS_BAD_DATA, "%s: found a lockstep file of kind \"%s\", expected \"%s\"", path, found,
                       kind);
    }
    if (get(seal + VERSION_AT, 4) != version)
        return ls_fail(LS_BAD_DATA, "%s: found format version %" PRIu64 ", expected %" PRIu32, path,
                       get(seal + VERSION_AT, 4), version);
    if (ls_seal_length(seal) != size)
        return ls_fail(LS_BAD_DATA, "%s: found %" PRIu64 " bytes, expected the %" PRIu64 " that were sealed",
                       path, size, ls_seal_length(seal));
    for (int i = 0; i < LS_SEAL_SIZE; i++)
        if (seal[i] != 0 && ((i >= VERSION_AT + 4 && i < LENGTH_AT) || i >= END_AT))
            return ls_fail(LS_BAD_DATA, "%s: byte %d of the seal: found %d, expected 0", path, i, seal[i]);
    return LS_OK;
}

ls_status ls_seal_check_digest(const unsigned char *file, size_t size, const char *path) {
    unsigned char found[DIGEST_SIZE];
    digest(file, size, found);
    if (memcmp(found, file + DIGEST_AT, DIGEST_SIZE) == 0) return LS_OK;
    char found_text[2 * DIGEST_SIZE + 1], expected_text[2 * DIGEST_SIZE + 1];
    hex(found, found_text);
    hex(file + DIGEST_AT, expected_text);
    return ls_fail(
        LS_BAD_DATA,
        "%s: damaged, or changed by another program: found digest %s, expected %s; if it was opened for "
        "writing (h5py with \"r+\" or \"a\"), `lockstep inspect --reseal` checks what is in it",
        path, found_text, expected_text);
}
