# Writes FOLDER/ptx.sha256, the compiler and the hash of every file in PTX, and FOLDER/sources.sha256, those of SOURCES in
# REPOSITORY: by these two the .NET build knows that what is there was made of the sources that are there. The first is in the
# form of native/cuda/ptx.sha256, which is committed.
cmake_minimum_required(VERSION 3.24)

function(write_hashes name files above head)
  set(text "${head}")
  foreach(file IN LISTS files)
    file(SHA256 "${file}" hash)
    cmake_path(RELATIVE_PATH file BASE_DIRECTORY "${above}")
    string(APPEND text "${hash}  ${file}\n")
  endforeach()
  # Never half of it.
  file(WRITE "${FOLDER}/${name}.new" "${text}")
  file(RENAME "${FOLDER}/${name}.new" "${FOLDER}/${name}")
endfunction()

file(READ "${COMPILER}" compiler)
write_hashes(ptx.sha256 "${PTX}" "${FOLDER}" "# ${compiler}")
write_hashes(sources.sha256 "${SOURCES}" "${REPOSITORY}" "")
