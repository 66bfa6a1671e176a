# Of the instruction sets that Highway can compile for on x86-64, leaves out those that NESTED_LEARNING_TARGETS does not name.
set(NESTED_LEARNING_ALL_TARGETS AVX2 AVX3)

# The best target of this machine, as the library itself finds it: asked anew each time, as a build folder may have come
# from another machine.
function(nested_learning_machine_target result)
  set(program "${CMAKE_BINARY_DIR}/machine_target${CMAKE_EXECUTABLE_SUFFIX}")
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/native/machine_target.cc")
  if(NOT EXISTS "${program}" OR "${source}" IS_NEWER_THAN "${program}"
      OR "${CMAKE_CURRENT_SOURCE_DIR}/native/core/dispatch.cc" IS_NEWER_THAN "${program}")
    try_compile(compiled "${CMAKE_BINARY_DIR}/machine_target.dir" "${source}"
      CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${CMAKE_CURRENT_SOURCE_DIR}/native\;${CMAKE_CURRENT_SOURCE_DIR}/native/include\;${HIGHWAY_INCLUDE}"
      COMPILE_DEFINITIONS -DHWY_IS_DEBUG_BUILD=0
      OUTPUT_VARIABLE output
      COPY_FILE "${program}"
      CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
    if(NOT compiled)
      message(FATAL_ERROR "What finds the targets of this machine cannot be compiled:\n${output}")
    endif()
  endif()
  execute_process(COMMAND "${program}" OUTPUT_VARIABLE target OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
  set(${result} "${target}" PARENT_SCOPE)
endfunction()

if(NESTED_LEARNING_TARGETS STREQUAL "all")
  set(targets ${NESTED_LEARNING_ALL_TARGETS})
elseif(NESTED_LEARNING_TARGETS STREQUAL "machine")
  if(CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR "NESTED_LEARNING_TARGETS is machine, expected all or names: this is for another machine")
  endif()
  nested_learning_machine_target(targets)
  message(STATUS "Compiled for this machine alone: ${targets}")
  # As the baseline: the plain one, which it never falls back to, takes longer to compile than it. These are the features
  # that Highway turns on for a target.
  set(avx2 -msse4.2 -mpclmul -maes -mavx2 -mbmi -mbmi2 -mfma -mf16c)
  set(avx3 ${avx2} -mavx512f -mavx512vl -mavx512dq -mavx512bw)
  if(MSVC)
    set(avx2 /arch:AVX2)
    set(avx3 /arch:AVX512)
  endif()
  if(targets STREQUAL AVX2)
    target_compile_options(nested_learning_options INTERFACE ${avx2})
  elseif(targets STREQUAL AVX3)
    target_compile_options(nested_learning_options INTERFACE ${avx3})
  endif()
else()
  set(targets ${NESTED_LEARNING_TARGETS})
  foreach(target IN LISTS targets)
    if(NOT target IN_LIST NESTED_LEARNING_ALL_TARGETS)
      message(FATAL_ERROR "NESTED_LEARNING_TARGETS has ${target}, expected all, machine, or names of ${NESTED_LEARNING_ALL_TARGETS}")
    endif()
  endforeach()
endif()

set(left_out ${NESTED_LEARNING_ALL_TARGETS})
list(REMOVE_ITEM left_out ${targets})
if(left_out)
  list(TRANSFORM left_out PREPEND HWY_)
  list(JOIN left_out "|" left_out)
  target_compile_definitions(nested_learning_options INTERFACE "NL_TARGETS_LEFT_OUT=(${left_out})")
endif()
