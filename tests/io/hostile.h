/* Files as somebody makes them who wants HDF5 to fail: a sound file with a few bytes of HDF5's own structures
 * changed, and every checksum over them and the seal computed again, so that HDF5 has to cope with what they
 * say. */
#ifndef LOCKSTEP_TESTS_IO_HOSTILE_H
#define LOCKSTEP_TESTS_IO_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

/* A structure of the file format with its checksum (Jenkins' lookup3): bytes begin .. end - 1, the checksum in
 * the four at `checksum`, which are inside only where the format computes it with zeros there. */
typedef struct structure {
    size_t begin, end, checksum;
} structure;

/* The structures of a sound file, found by their signatures and by their checksums being right. *list is
 * freed with free(); exits the program if memory is out. */
int hostile_structures(const unsigned char *file, size_t size, structure **list);

/* Changes 1 to 4 bytes of one of the structures, computes its checksum and the seal. Equal seeds give equal
 * files. */
void hostile_change(unsigned char *file, size_t size, const structure *list, int count, uint64_t seed);

/* Changes a byte of the values in the middle of the file's largest stretch outside of structures; HDF5 finds
 * it by Fletcher32 once it reads them. */
void hostile_change_values(unsigned char *file, size_t size, const structure *list, int count);

#endif
