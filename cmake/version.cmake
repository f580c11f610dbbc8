# Writes HEADER with the version and the git commit of SOURCE; "-dirty" where the tree differs from it. Only a repository
# whose top is SOURCE counts: sources unpacked inside another repository do not have its commit. Variables that name a
# repository (git sets them for its hooks) would name another one, too.
set(git ${CMAKE_COMMAND} -E env --unset=GIT_DIR --unset=GIT_WORK_TREE --unset=GIT_INDEX_FILE git -C ${SOURCE})
set(commit "unknown")
execute_process(COMMAND ${git} rev-parse --show-cdup
                OUTPUT_VARIABLE up OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed AND up STREQUAL "")
  execute_process(COMMAND ${git} describe --always --dirty --abbrev=10
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${described})
  endif()
endif()
set(text "#ifndef LOCKSTEP_VERSION_H\n#define LOCKSTEP_VERSION_H\n\n#define LOCKSTEP_VERSION \"${VERSION}\"\n#define LOCKSTEP_GIT     \"${commit}\"\n\n#endif\n")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${HEADER} "${text}")
endif()
