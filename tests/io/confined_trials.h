/* What the child of the trials is told to try; ls_answer.bits is the error that it met, 0 if it succeeded. */
#ifndef LOCKSTEP_TESTS_IO_CONFINED_TRIALS_H
#define LOCKSTEP_TESTS_IO_CONFINED_TRIALS_H

#include "io/confined.h"

enum {
    TRY_NOTHING = LS_ASKS,
    TRY_OPEN, /* path */
    TRY_CREATE,
    TRY_REMOVE,
    TRY_STAT,
    TRY_READ_OTHER,
    TRY_WRITE_OTHER,
    TRY_SOCKET,
    TRY_UNIX_SOCKET,
    TRY_CONNECT, /* path: the number of a socket */
    TRY_SEND_ELSEWHERE,
    TRY_FORK,
    TRY_CLONE,
    TRY_EXEC,
    TRY_KILL,
    TRY_CODE,
    TRY_REFUSED_BY_KERNEL, /* all above are */
    TRY_MEMORY,
    TRY_CRASH,
    TRY_SPIN,
    TRY_SILENCE
};

#endif
