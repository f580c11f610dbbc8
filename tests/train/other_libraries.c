/* Preloaded before the program: MPI and HDF5 say that they are of other versions than their headers. */
#include <H5public.h>
#include <mpi.h>
#include <string.h>

int MPI_Get_library_version(char *version, int *length);
herr_t H5get_libversion(unsigned *major, unsigned *minor, unsigned *release);

int MPI_Get_library_version(char *version, int *length) {
    strcpy(version, "Open MPI v9.8.7, package: a made one, ident: 9.8.7");
    *length = (int)strlen(version);
    return MPI_SUCCESS;
}

herr_t H5get_libversion(unsigned *major, unsigned *minor, unsigned *release) {
    *major = 9, *minor = 8, *release = 7;
    return 0;
}
