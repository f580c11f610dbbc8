# HDF5, shared or static. A shared HDF5 often brings drivers for files in the network and thirty libraries for them, which
# take some milliseconds to load in each process. So our two programs take the static one where it is installed too. The
# library and what is linked with it take the shared one.

# HDF5's archive and those of its compression; empty where its own is not installed.
function(lockstep_find_hdf5_archives out)
  set(archives)
  foreach(library ${HDF5_C_LIBRARIES})
    get_filename_component(folder ${library} DIRECTORY)
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive ${library})
    if(library MATCHES "/libhdf5[^/]*$" AND EXISTS ${archive})
      list(APPEND archives ${archive})
    elseif(library MATCHES "/libhdf5[^/]*$")
      set(archives)
      break()
    elseif(library MATCHES "/libsz\\.[^/]*$")
      foreach(candidate ${archive} ${folder}/libaec.a)
        if(EXISTS ${candidate})
          list(APPEND archives ${candidate})
        endif()
      endforeach()
    endif()
  endforeach()
  set(${out} ${archives} PARENT_SCOPE)
endfunction()

# Does a program with these options and libraries have all it needs? (Drivers for files in the network are called by
# nobody, so their libraries are not needed.)
function(lockstep_hdf5_links out)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/lockstep_hdf5.c)
  file(WRITE ${source} "#include <hdf5.h>\nint main(void) { return H5open() < 0 || H5Fopen(\"\", 0, H5P_DEFAULT) < 0; }\n")
  cmake_parse_arguments(ARG "" "" "OPTIONS;LIBRARIES" ${ARGN})
  try_compile(${out} ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${out} ${source}
    COMPILE_DEFINITIONS -fPIE
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${HDF5_C_INCLUDE_DIRS}"
    LINK_OPTIONS ${ARG_OPTIONS}
    LINK_LIBRARIES ${ARG_LIBRARIES})
endfunction()

lockstep_find_hdf5_archives(LOCKSTEP_HDF5_ARCHIVES)
set(confined ${LOCKSTEP_HDF5_ARCHIVES} z m)
if(SECCOMP_FOUND)
  list(APPEND confined seccomp)
endif()
if(LOCKSTEP_HDF5_ARCHIVES AND NOT LOCKSTEP_SANITIZE)
  lockstep_hdf5_links(LOCKSTEP_HDF5_STATIC OPTIONS -pie LIBRARIES ${LOCKSTEP_HDF5_ARCHIVES} z m ${CMAKE_DL_LIBS})
  lockstep_hdf5_links(LOCKSTEP_CONFINED_STATIC OPTIONS -static-pie LIBRARIES ${confined})
endif()
if(NOT LOCKSTEP_HDF5_STATIC OR NOT LOCKSTEP_CONFINED_STATIC)
  message(STATUS "HDF5 is loaded at run time: static libraries of it, of zlib or libseccomp would start faster")
endif()

# What liblockstep needs: a program with the property LOCKSTEP_STATIC takes HDF5 into itself.
add_library(lockstep_hdf5 INTERFACE)
set(wants_static "$<BOOL:$<TARGET_PROPERTY:LOCKSTEP_STATIC>>")
if(LOCKSTEP_HDF5_STATIC)
  target_link_libraries(lockstep_hdf5 INTERFACE
    "$<IF:${wants_static},${LOCKSTEP_HDF5_ARCHIVES};z;m;${CMAKE_DL_LIBS},${HDF5_C_LIBRARIES}>")
else()
  target_link_libraries(lockstep_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
endif()

# What the program of the confined child needs (src/io/confined.h): nothing at run time, except with sanitizers.
add_library(lockstep_confined_libraries INTERFACE)
if(LOCKSTEP_CONFINED_STATIC)
  # Small, since it is copied each time: no symbols, nothing that is not called, no loader of libraries.
  target_link_options(lockstep_confined_libraries INTERFACE
    -static-pie LINKER:--strip-all LINKER:--gc-sections LINKER:--wrap=dlopen)
  target_compile_definitions(lockstep_confined_libraries INTERFACE LS_CONFINED_STATIC)
  target_link_libraries(lockstep_confined_libraries INTERFACE ${confined})
else()
  target_link_libraries(lockstep_confined_libraries INTERFACE ${HDF5_C_LIBRARIES})
  if(SECCOMP_FOUND)
    target_link_libraries(lockstep_confined_libraries INTERFACE PkgConfig::SECCOMP)
  endif()
endif()
