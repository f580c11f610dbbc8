/* The program of the confined child (confined_main.c), built before this file and carried along. */
#include "io/confined.h"

__asm__(".section .rodata\n"
        ".balign 16\n"
        ".global ls_confined_program\n"
        "ls_confined_program:\n"
        ".incbin \"" LS_CONFINED_PROGRAM "\"\n"
        ".global ls_confined_program_end\n"
        "ls_confined_program_end:\n"
        ".byte 0\n"
        ".previous\n");
