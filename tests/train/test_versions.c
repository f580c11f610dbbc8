/* What is said of the libraries that were loaded; the versions of the headers are looked up in their own
 * macros. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <H5public.h>
#include <mpi.h>
#include <stdio.h>

#include "train/versions.h"

static void same_library(void **state) {
    char expected[64];
    unsigned major, minor, release;
    (void)state;
    assert_true(H5get_libversion(&major, &minor, &release) >= 0);
    if (major != H5_VERS_MAJOR || minor != H5_VERS_MINOR || release != H5_VERS_RELEASE) skip();
    snprintf(expected, sizeof expected, "HDF5 %u.%u.%u", major, minor, release);
    assert_string_equal(ls_hdf5_version().text, expected);
#ifdef OMPI_MAJOR_VERSION
    char says[128];
    snprintf(expected, sizeof expected, "Open MPI %d.%d.%d", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION,
             OMPI_RELEASE_VERSION);
    snprintf(says, sizeof says, "Open MPI v%d.%d.%d, package: a, ident: b", OMPI_MAJOR_VERSION,
             OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
    assert_string_equal(ls_mpi_version_of(says, "MPI 3.1").text, expected);
#endif
}

static void starts_with(ls_version_text found, const char *start, const char *headers) {
    char expected[LS_VERSION_TEXT];
    snprintf(expected, sizeof expected, "%s%s", start, headers);
    assert_string_equal(found.text, expected);
}

static void other_library(void **state) {
    char headers[96];
    (void)state;
#ifdef OMPI_MAJOR_VERSION
    snprintf(headers, sizeof headers, ", headers of Open MPI %d.%d.%d", OMPI_MAJOR_VERSION,
             OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
    starts_with(ls_mpi_version_of("Open MPI v9.0.1rc2, package: x", "MPI 3.1"), "Open MPI 9.0.1rc2", headers);
    starts_with(ls_mpi_version_of("Open MPI v9.0.10", "MPI 3.1"), "Open MPI 9.0.10", headers);
    starts_with(ls_mpi_version_of("MPICH Version:\t99.0\nMPICH Release date:\tx", "MPI 4.0"), "MPICH 99.0",
                headers);
#endif
    snprintf(headers, sizeof headers, "MPI %d.%d (Some MPI 7)", MPI_VERSION, MPI_SUBVERSION);
    char standard[32];
    snprintf(standard, sizeof standard, "MPI %d.%d", MPI_VERSION, MPI_SUBVERSION);
    assert_string_equal(ls_mpi_version_of("Some MPI 7, built today\nand more", standard).text, headers);
    snprintf(headers, sizeof headers, ", headers of MPI %d.%d", MPI_VERSION, MPI_SUBVERSION);
    starts_with(ls_mpi_version_of("Some MPI 7", "MPI 9.0"), "MPI 9.0 (Some MPI 7)", headers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_library),
        cmocka_unit_test(other_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
