# cmake --install: the program, the library, its public headers, and what find_package(lockstep) and pkg-config read.
#
# Headers include each other from the root of src/ ("graph/graph.h"), so the installed ones keep those paths under
# include/lockstep, which is the include directory of lockstep::lockstep; src/lockstep.h includes what programs need.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(public_headers
  lockstep.h
  check/gradcheck.h check/probe.h
  core/backend.h core/dataset.h core/dual.h core/elementary.h core/instruction_set.h core/keys.h core/lane.h core/now.h core/real.h core/rng.h
  core/shards.h core/status.h core/team.h
  graph/activation.h graph/fusion.h graph/graph.h graph/observer.h graph/op.h graph/parameters.h graph/plan.h
  io/config.h io/reader.h
  model/builder.h model/network.h model/optimizer.h model/optimizer_rule.h model/schedule.h
  predict/predict.h
  tensor/tensor.h)
# layers: all but the insides of kernels
file(GLOB layer_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${PROJECT_SOURCE_DIR}/src/layers/*.h ${PROJECT_SOURCE_DIR}/src/layers/*/*.h)
list(FILTER layer_headers EXCLUDE REGEX "(_amx|_cuda|_layout|_pack|_passes|_ref|_tile|_tiles|_vector|_walk|_weights|_winograd|_words|sixteen)\\.h$")
list(APPEND public_headers ${layer_headers})

foreach(header ${public_headers})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/src/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep/${folder})
endforeach()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
set_target_properties(lockstep_lib PROPERTIES EXPORT_NAME lockstep)
install(TARGETS lockstep RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS lockstep_lib EXPORT lockstepTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep)
install(EXPORT lockstepTargets NAMESPACE lockstep:: DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lockstepConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/lockstepConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lockstepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lockstepConfig.cmake ${PROJECT_BINARY_DIR}/lockstepConfigVersion.cmake
        DESTINATION ${package_folder})

# lockstep.pc. It finds its prefix by where it lies, so that an install can be moved and --prefix means something. MPI
# and HDF5 are named by their files, since they have no names that all systems share, and so is CUDA's runtime. All are in Libs,
# not in Libs.private: the library is static, so that whoever links it needs them.
file(RELATIVE_PATH LOCKSTEP_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" LOCKSTEP_PC_PREFIX "${LOCKSTEP_PC_PREFIX}")
list(JOIN LOCKSTEP_EXACT_LINK_OPTIONS " " LOCKSTEP_PC_OPTIONS)
set(LOCKSTEP_PC_LIBRARIES ${HDF5_C_LIBRARIES} ${MPI_C_LIBRARIES})
list(FILTER LOCKSTEP_PC_LIBRARIES EXCLUDE REGEX "^(debug|optimized|general)$")
list(REMOVE_DUPLICATES LOCKSTEP_PC_LIBRARIES)
list(TRANSFORM LOCKSTEP_PC_LIBRARIES REPLACE "^([A-Za-z_0-9.+-]+)$" "-l\\1")
if(LOCKSTEP_CUDA_FOUND)
  list(APPEND LOCKSTEP_PC_LIBRARIES ${CUDA_cudart_static_LIBRARY} -ldl -lrt)
endif()
list(JOIN LOCKSTEP_PC_LIBRARIES " " LOCKSTEP_PC_LIBRARIES)
configure_file(${PROJECT_SOURCE_DIR}/cmake/lockstep.pc.in ${PROJECT_BINARY_DIR}/lockstep.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/lockstep.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
