# Writes HEADER with the version and the git commit of SOURCE; "-dirty" where the tree differs from it.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "unknown")
endif()
set(text "#ifndef LOCKSTEP_VERSION_H\n#define LOCKSTEP_VERSION_H\n\n#define LOCKSTEP_VERSION \"${VERSION}\"\n#define LOCKSTEP_GIT     \"${commit}\"\n\n#endif\n")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${HEADER} "${text}")
endif()
