# The PTX of the CUDA kernels, which NestedLearning.Gpu embeds: the target ptx, a part of all and of for_dotnet. Debian's
# clang-19 makes it, without a toolkit; where that is not, there is no PTX, and GPUs have ILGPU's kernels.
#
# An architecture is a file of the compiler's options, <architecture>.flags. sm_80 with PTX 7.0 is every GPU since Ampere and
# every driver since CUDA 11.0. Subnormal numbers are zeros, as in every kernel.
set(NESTED_LEARNING_PTX "" CACHE PATH "Where the PTX of the CUDA kernels is put; empty: it is not made")

# On the path alone, as build.sh and the tests look for it, and each time anew.
find_program(PTX_COMPILER clang++-19 NO_CACHE NO_CMAKE_SYSTEM_PATH)
if(NOT NESTED_LEARNING_PTX OR NOT PTX_COMPILER)
  return()
endif()

# A package keeps its files' times, so that a newer compiler can look older than what the last one made.
execute_process(COMMAND "${PTX_COMPILER}" --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "^[^\n]*" version "${version}")
set(version_file "${CMAKE_BINARY_DIR}/ptx/compiler.txt")
file(CONFIGURE OUTPUT "${version_file}" CONTENT "${version}\n" @ONLY)

# What PTX can depend on; NestedLearning.Gpu.csproj, which embeds none of other sources, has the same list.
file(GLOB inputs CONFIGURE_DEPENDS native/cuda/*.flags native/cuda/*.h native/cuda/*.cuh native/kernels/*/*.cu
  native/kernels/*/*.cuh native/kernels/*/*.h)
file(GLOB architectures CONFIGURE_DEPENDS native/cuda/*.flags)
file(GLOB kernels CONFIGURE_DEPENDS native/kernels/*/*.cu)
set(ptx)
foreach(flags IN LISTS architectures)
  cmake_path(GET flags STEM architecture)
  file(MAKE_DIRECTORY "${NESTED_LEARNING_PTX}/${architecture}" "${CMAKE_BINARY_DIR}/ptx/${architecture}")
  foreach(kernel IN LISTS kernels)
    cmake_path(GET kernel STEM name)
    set(output "${NESTED_LEARNING_PTX}/${architecture}/${name}.ptx")
    set(depfile "${CMAKE_BINARY_DIR}/ptx/${architecture}/${name}.d")
    # clang writes another file and renames it.
    add_custom_command(OUTPUT "${output}"
      COMMAND "${PTX_COMPILER}" "@${flags}" "-I${CMAKE_CURRENT_SOURCE_DIR}/native" -MD -MF "${depfile}" -MT "${output}"
        -S "${kernel}" -o "${output}"
      DEPENDS "${kernel}" "${flags}" "${version_file}" "${PTX_COMPILER}"
      DEPFILE "${depfile}"
      COMMENT "Making ${architecture}/${name}.ptx"
      VERBATIM)
    list(APPEND ptx "${output}")
  endforeach()
endforeach()

# That of kernels that are no more would be embedded too.
file(GLOB there "${NESTED_LEARNING_PTX}/*/*.ptx")
foreach(file IN LISTS there)
  if(NOT file IN_LIST ptx)
    file(REMOVE "${file}")
  endif()
endforeach()

set(hashes "${NESTED_LEARNING_PTX}/ptx.sha256" "${NESTED_LEARNING_PTX}/sources.sha256")
add_custom_command(OUTPUT ${hashes}
  COMMAND "${CMAKE_COMMAND}" "-DFOLDER=${NESTED_LEARNING_PTX}" "-DPTX=${ptx}" "-DREPOSITORY=${CMAKE_CURRENT_SOURCE_DIR}"
    "-DSOURCES=${inputs}" "-DCOMPILER=${version_file}" -P "${CMAKE_CURRENT_LIST_DIR}/ptx_hashes.cmake"
  DEPENDS ${ptx} ${inputs} "${version_file}" "${CMAKE_CURRENT_LIST_DIR}/ptx_hashes.cmake"
  COMMENT "Hashing the PTX and its sources"
  VERBATIM)
add_custom_target(ptx ALL DEPENDS ${hashes})
add_dependencies(for_dotnet ptx)
