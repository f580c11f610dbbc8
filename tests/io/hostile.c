#include "io/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/seal.h"

enum { LONGEST = 1 << 13, HEAP_BLOCK_HEAD = 32 };

/* ---- lookup3, by Bob Jenkins (public domain), for bytes in any order of memory ---- */

static uint32_t rotate(uint32_t x, int bits) {
    return x << bits | x >> (32 - bits);
}

/* `zeros`: four bytes that count as zero; SIZE_MAX for none. */
static uint32_t lookup3(const unsigned char *data, size_t length, size_t zeros) {
    uint32_t a = 0xdeadbeef + (uint32_t)length, b = a, c = a;
    for (size_t at = 0;; at += 12) {
        uint32_t word[3] = {0};
        size_t left = length - at, here = left < 12 ? left : 12;
        for (size_t i = 0; i < here; i++)
            if (at + i < zeros || at + i >= zeros + 4) word[i / 4] += (uint32_t)data[at + i] << 8 * (i % 4);
        if (left == 0) return c;
        a += word[0];
        b += word[1];
        c += word[2];
        if (left <= 12) break;
        a = (a - c) ^ rotate(c, 4), c += b;
        b = (b - a) ^ rotate(a, 6), a += c;
        c = (c - b) ^ rotate(b, 8), b += a;
        a = (a - c) ^ rotate(c, 16), c += b;
        b = (b - a) ^ rotate(a, 19), a += c;
        c = (c - b) ^ rotate(b, 4), b += a;
    }
    c = (c ^ b) - rotate(b, 14);
    a = (a ^ c) - rotate(c, 11);
    b = (b ^ a) - rotate(a, 25);
    c = (c ^ b) - rotate(b, 16);
    a = (a ^ c) - rotate(c, 4);
    b = (b ^ a) - rotate(a, 14);
    return (c ^ b) - rotate(b, 24);
}

static uint32_t get(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t checksum_of(const unsigned char *file, const structure *s) {
    size_t zeros = s->checksum >= s->begin && s->checksum < s->end ? s->checksum - s->begin : SIZE_MAX - 4;
    return lookup3(file + s->begin, s->end - s->begin, zeros);
}

/* ---- structures ---- */

/* A block of a fractal heap has its checksum in its head, computed over the whole with zeros there. */
static int find_heap_block(const unsigned char *file, size_t size, structure *s) {
    for (size_t length = 64; length <= 1 << 16 && s->begin + length <= size; length *= 2)
        for (size_t at = 13; at < HEAP_BLOCK_HEAD; at++) {
            s->end = s->begin + length;
            s->checksum = s->begin + at;
            if (checksum_of(file, s) == get(file + s->checksum)) return 1;
        }
    return 0;
}

/* Everything else has it behind the last byte. */
static int find_end(const unsigned char *file, size_t size, structure *s) {
    for (s->end = s->begin + 8; s->end + 4 <= size && s->end - s->begin < LONGEST; s->end++) {
        s->checksum = s->end;
        if (checksum_of(file, s) == get(file + s->end)) return 1;
    }
    return 0;
}

int hostile_structures(const unsigned char *file, size_t size, structure **list) {
    static const char signatures[][5] = {"\211HDF", "OHDR", "OCHK", "FRHP", "FHDB", "FHIB", "BTHD",
                                         "BTLF",    "BTIN", "FSHD", "FSSE", "FAHD", "FADB", "EAHD",
                                         "EAIB",    "EASB", "EADB", "SMTB", "SMLI"};
    int count = 0, room = 0;
    *list = NULL;
    for (size_t at = LS_SEAL_SIZE; at + 12 <= size; at++)
        for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
            structure s = {.begin = at};
            if (memcmp(file + at, signatures[i], 4) != 0) continue;
            int found = strcmp(signatures[i], "FHDB") == 0 ? find_heap_block(file, size, &s) : 0;
            if (!found && !find_end(file, size, &s)) continue;
            if (count == room) {
                room = room ? 2 * room : 64;
                structure *more = realloc(*list, (size_t)room * sizeof **list);
                if (!more) exit(70);
                *list = more;
            }
            (*list)[count++] = s;
        }
    return count;
}

/* ---- changes ---- */

static void seal(unsigned char *file, size_t size) {
    if (ls_seal_renew(file, size, "file") != LS_OK) exit(70);
}

void hostile_change(unsigned char *file, size_t size, const structure *list, int count, uint64_t seed) {
    static const unsigned char edges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
#define DRAW(limit) ((size_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % (limit))
    const structure *s = &list[DRAW((size_t)count)];
    size_t changes = 1 + DRAW(4), place = 4 + DRAW(s->end - s->begin - 4);
    for (size_t i = 0; i < changes; i++) {
        unsigned char *byte = file + s->begin + place;
        switch (DRAW(4)) {
        case 0: *byte = (unsigned char)DRAW(256); break;
        case 1: *byte = (unsigned char)(*byte ^ 1u << DRAW(8)); break;
        case 2: *byte = edges[DRAW(sizeof edges)]; break;
        default: *byte = (unsigned char)(*byte + (DRAW(2) ? 1 : 255)); break;
        }
        /* side by side, as the bytes of a number are, or anywhere */
        place = DRAW(2) ? place + 1 : 4 + DRAW(s->end - s->begin - 4);
        if (place >= s->end - s->begin) place = 4;
    }
#undef DRAW
    uint32_t sum = checksum_of(file, s);
    for (int i = 0; i < 4; i++) file[s->checksum + (size_t)i] = (unsigned char)(sum >> 8 * i);
    seal(file, size);
}

void hostile_change_values(unsigned char *file, size_t size, const structure *list, int count) {
    size_t begin = LS_SEAL_SIZE, best = 0, middle = size - 1;
    for (int i = 0; i <= count; i++) {
        size_t end = i < count ? list[i].begin : size;
        if (end > begin && end - begin > best) {
            best = end - begin;
            middle = begin + best / 2;
        }
        if (i < count && list[i].end > begin) begin = list[i].end;
    }
    file[middle] ^= 1;
    seal(file, size);
}
