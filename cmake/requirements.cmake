# What a build needs beyond what find_package() says itself: one line each, with what to do.

# Before project(), which would say it in CMake's own words.
function(lockstep_require_ninja)
  if(NOT CMAKE_GENERATOR MATCHES "Ninja")
    return()
  endif()
  find_program(CMAKE_MAKE_PROGRAM NAMES ninja-build ninja samu)
  if(NOT CMAKE_MAKE_PROGRAM)
    message(FATAL_ERROR "The presets build with Ninja, which is not there: install ninja-build, "
                        "or build with make: cmake --preset release -G \"Unix Makefiles\"")
  endif()
endfunction()

# memfd, /proc, process file descriptors and the launchers of clusters: Linux, and no other system.
function(lockstep_require_linux)
  if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    message(FATAL_ERROR "lockstep needs Linux, and this is ${CMAKE_SYSTEM_NAME}: "
                        "build it in a Linux container or a virtual machine")
  endif()
endfunction()

# Shared libraries of MPI that this one asks for, by the names in its dynamic section.
function(lockstep_mpi_needed_by library out)
  set(names)
  if(CMAKE_READELF AND library MATCHES "\\.so")
    execute_process(COMMAND ${CMAKE_READELF} -d ${library} OUTPUT_VARIABLE section ERROR_QUIET)
    string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*\\[libmpi(ch)?\\.so[^\n]*\\]" lines "${section}")
    foreach(line ${lines})
      string(REGEX REPLACE ".*\\[(.*)\\].*" "\\1" name "${line}")
      list(APPEND names ${name})
    endforeach()
  endif()
  set(${out} ${names} PARENT_SCOPE)
endfunction()

# A parallel HDF5 brings an MPI of its own, and two of them in one process crash at their start.
function(lockstep_require_one_mpi)
  set(own)
  foreach(library ${MPI_C_LIBRARIES})
    get_filename_component(real ${library} REALPATH)
    if(CMAKE_READELF AND real MATCHES "\\.so")
      execute_process(COMMAND ${CMAKE_READELF} -d ${real} OUTPUT_VARIABLE section ERROR_QUIET)
      if(section MATCHES "\\(SONAME\\)[^\n]*\\[([^]\n]*)\\]")
        list(APPEND own ${CMAKE_MATCH_1})
      endif()
    endif()
  endforeach()
  foreach(library ${HDF5_C_LIBRARIES})
    lockstep_mpi_needed_by(${library} needed)
    foreach(name ${needed})
      if(own AND NOT name IN_LIST own)
        message(FATAL_ERROR "HDF5 (${library}) belongs to another MPI (${name}) than the one found (${own}): "
                            "install libhdf5-dev, which needs none, or choose with -DHDF5_ROOT=.. or -DMPI_C_COMPILER=..")
      endif()
    endforeach()
  endforeach()
endfunction()
