# Kernels exist for several tiers (src/core/real.h, src/core/instruction_set.h) in one binary, and one is chosen at run time.
include(CheckCSourceCompiles)
check_c_source_compiles("#ifndef __x86_64__\n#error\n#endif\nint main(void) { return 0; }" LOCKSTEP_X86_64)

set(LOCKSTEP_AVX2_OPTIONS -mavx2 -mfma)
set(LOCKSTEP_AVX512_OPTIONS -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
# gcc 12 stores registers of 64 bytes as if they were aligned on its fake stack, which finds uses after a return, where they
# are not (its bug 110027): kernels keep to the real one.
if(LOCKSTEP_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND LOCKSTEP_AVX512_OPTIONS --param=asan-use-after-return=0)
endif()
set(LOCKSTEP_AVX512_BF16_OPTIONS ${LOCKSTEP_AVX512_OPTIONS} -mavx512bf16)
set(LOCKSTEP_AMX_OPTIONS ${LOCKSTEP_AVX512_BF16_OPTIONS} -mamx-tile -mamx-bf16)
set(LOCKSTEP_AMX_DEFINITIONS LS_FOR_AVX512 LS_BF16 LS_FOR_AMX)

# Adds the objects of these sources, compiled with the given definition and options, to the library.
function(lockstep_add_objects name definition options)
  add_library(${name} OBJECT ${ARGN})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_definitions(${name} PRIVATE ${definition})
  target_compile_options(${name} PRIVATE ${options})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE lockstep_flags)
  target_sources(lockstep_lib PRIVATE $<TARGET_OBJECTS:${name}>)
endfunction()

# The same sources for fp64, always in portable instructions.
function(lockstep_add_fp64 name)
  lockstep_add_objects(${name}_f64 LS_F64 "" ${ARGN})
endfunction()

# The same sources for the vector tiers of fp32.
function(lockstep_add_tiers name)
  if(LOCKSTEP_X86_64)
    lockstep_add_objects(${name}_avx2 LS_FOR_AVX2 "${LOCKSTEP_AVX2_OPTIONS}" ${ARGN})
    lockstep_add_objects(${name}_avx512 LS_FOR_AVX512 "${LOCKSTEP_AVX512_OPTIONS}" ${ARGN})
  endif()
endfunction()

# The same sources, of products, for the vector tiers of bf16. Of those of AVX-512 the
# second has pairs (core/real.h).
function(lockstep_add_bf16_tiers name)
  if(LOCKSTEP_X86_64)
    lockstep_add_objects(${name}_bf16_avx2 "LS_FOR_AVX2;LS_BF16" "${LOCKSTEP_AVX2_OPTIONS}" ${ARGN})
    lockstep_add_objects(${name}_rounded_avx512 "LS_FOR_AVX512;LS_BF16;LS_ROUNDED" "${LOCKSTEP_AVX512_OPTIONS}" ${ARGN})
    lockstep_add_objects(${name}_bf16_avx512 "LS_FOR_AVX512;LS_BF16" "${LOCKSTEP_AVX512_BF16_OPTIONS}" ${ARGN})
  endif()
endfunction()

# The sources of AMX's tier of bf16, remembered for the tests, which compile them again for emulated tiles (tests/amx).
function(lockstep_add_amx name)
  if(LOCKSTEP_X86_64)
    lockstep_add_objects(${name}_bf16_amx "${LOCKSTEP_AMX_DEFINITIONS}" "${LOCKSTEP_AMX_OPTIONS}" ${ARGN})
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_AMX_SOURCES ${sources})
  endif()
endfunction()
