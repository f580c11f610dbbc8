/* A format of data sets as a program may add one: see digits_reader.c. */
#ifndef LOCKSTEP_TESTS_IO_DIGITS_READER_H
#define LOCKSTEP_TESTS_IO_DIGITS_READER_H

#include "io/reader.h"

extern const ls_reader_class digits_reader;

#endif
