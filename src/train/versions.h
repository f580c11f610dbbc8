/* Which libraries a process runs with: those that were loaded, not those whose headers it was compiled with,
 * which are named too where they differ. Local. */
#ifndef LOCKSTEP_TRAIN_VERSIONS_H
#define LOCKSTEP_TRAIN_VERSIONS_H

/* The version of the bits: two builds with the same number leave the same fingerprints of the same
 * configuration, seed and data. A commit that changes any fingerprint adds 1 (tests/train/bits.sh fails until
 * it does), and says so in CHANGELOG.md.
 * 1: since convolutions of 3x3 by F(4x4, 3x3). */
enum { LS_BITS = 1 };

enum { LS_VERSION_TEXT = 256 };

typedef struct ls_version_text {
    char text[LS_VERSION_TEXT];
} ls_version_text;

/* "Open MPI 4.1.4", "MPICH 4.0.2", and "MPI 3.1 (first words that it says of itself)" of another library;
 * where the headers differ "Open MPI 4.1.4, headers of Open MPI 4.1.6". Works before MPI has started. */
ls_version_text ls_mpi_version(void);
/* "HDF5 1.10.8", likewise. */
ls_version_text ls_hdf5_version(void);

/* The text of an MPI whose MPI_Get_library_version() says `says`, for the standard "MPI 3.1". */
ls_version_text ls_mpi_version_of(const char *says, const char *standard);

/* What compiled this. */
#ifdef __clang__
#define LS_COMPILER __VERSION__ /* "Debian Clang 14.0.6" */
#else
#define LS_COMPILER "gcc " __VERSION__
#endif

#endif
