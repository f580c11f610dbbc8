#include "train/versions.h"

#include <H5public.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "io/hdf5.h"

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)

/* What the headers are: of the standard, and of which library where they say so. */
#define STANDARD_HEADERS "MPI " STRING(MPI_VERSION) "." STRING(MPI_SUBVERSION)
#if defined OMPI_MAJOR_VERSION
#define MPI_HEADERS                                                                                          \
    "Open MPI " STRING(OMPI_MAJOR_VERSION) "." STRING(OMPI_MINOR_VERSION) "." STRING(OMPI_RELEASE_VERSION)
#elif defined MPICH_VERSION && !defined I_MPI_VERSION && !defined MVAPICH2_VERSION
#define MPI_HEADERS "MPICH " MPICH_VERSION
#else
#define MPI_HEADERS STANDARD_HEADERS
#endif
#define HDF5_HEADERS "HDF5 " STRING(H5_VERS_MAJOR) "." STRING(H5_VERS_MINOR) "." STRING(H5_VERS_RELEASE)

/* What is behind a beginning; NULL: it begins with something else. */
static const char *after(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0 ? text + strlen(start) : NULL;
}

static void add_headers(ls_version_text *v, const char *headers) {
    size_t length = strlen(v->text);
    snprintf(v->text + length, sizeof v->text - length, ", headers of %s", headers);
}

ls_version_text ls_mpi_version_of(const char *says, const char *standard) {
    ls_version_text v;
    const char *known, *headers = MPI_HEADERS;
    if ((known = after(says, "Open MPI v"))) {
        snprintf(v.text, sizeof v.text, "Open MPI %.*s", (int)strcspn(known, ", \t\r\n"), known);
    } else if ((known = after(says, "MPICH Version:"))) {
        known += strspn(known, " \t");
        snprintf(v.text, sizeof v.text, "MPICH %.*s", (int)strcspn(known, ", \t\r\n"), known);
    } else { /* its first words; that of the standard is the only version that all have in one form */
        snprintf(v.text, sizeof v.text, "%s (%.*s)", standard, (int)strcspn(says, ",\t\r\n"), says);
        if (strcmp(standard, STANDARD_HEADERS) != 0) add_headers(&v, STANDARD_HEADERS);
        return v;
    }
    if (strcmp(v.text, headers) != 0) add_headers(&v, headers);
    return v;
}

ls_version_text ls_mpi_version(void) {
    char says[MPI_MAX_LIBRARY_VERSION_STRING] = "unknown library", standard[32] = "MPI";
    int length, major, minor;
    if (MPI_Get_library_version(says, &length) != MPI_SUCCESS) snprintf(says, sizeof says, "unknown library");
    if (MPI_Get_version(&major, &minor) == MPI_SUCCESS)
        snprintf(standard, sizeof standard, "MPI %d.%d", major, minor);
    return ls_mpi_version_of(says, standard);
}

ls_version_text ls_hdf5_version(void) {
    ls_version_text v = {"HDF5 of unknown version"};
    unsigned major, minor, release;
    /* starts HDF5, which crashes where it has too little memory */
    if (ls_h5_start() == LS_OK && H5get_libversion(&major, &minor, &release) >= 0)
        snprintf(v.text, sizeof v.text, "HDF5 %u.%u.%u", major, minor, release);
    if (strcmp(v.text, HDF5_HEADERS) != 0) add_headers(&v, HDF5_HEADERS);
    return v;
}
