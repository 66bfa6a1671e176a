#!/usr/bin/env bash
# The PTX of the CUDA kernels, which is committed in src/NestedLearning.Gpu/Cuda/<architecture>/ so that nobody needs this
# compiler: Debian's clang-19, without a toolkit. The same sources and compiler give the same bytes.
#   native/cuda/ptx.sh           makes it
#   native/cuda/ptx.sh --check   says what differs; exit status 2 where this compiler is not the one it was made with
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$root/src/NestedLearning.Gpu/Cuda
compiler=clang++-19
check=0
[ "${1:-}" != --check ] || check=1

command -v $compiler >/dev/null || {
  echo "$compiler is missing (Debian: clang-19)"
  exit 2
}
version=$($compiler --version | head -n 1)
if [ $check = 1 ]; then
  made_with=$(cat "$folder/compiler.txt")
  [ "$version" = "$made_with" ] || {
    echo "the PTX was made with $made_with, here is $version"
    exit 2
  }
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$root"
for source in native/kernels/*/*.cu; do
  # PTX 7.0 and sm_80: every GPU since Ampere, every driver since CUDA 11.0. Subnormal numbers are zeros, as in every kernel.
  $compiler -x cuda --cuda-device-only --cuda-gpu-arch=sm_80 --cuda-feature=+ptx70 -nocudainc -nocudalib -std=c++20 -O3 \
    -fgpu-flush-denormals-to-zero -Wall -Wextra -Werror -Inative -S "$source" -o "$out/$(basename "$source" .cu).ptx"
done

if [ $check = 1 ]; then
  diff -rq "$out" "$folder/sm_80" || {
    echo "the committed PTX is not what $version makes of the sources; make it again with native/cuda/ptx.sh"
    exit 1
  }
  echo "$(find "$out" -name '*.ptx' | wc -l) files are what $version makes"
else
  rm -rf "$folder/sm_80"
  mkdir -p "$folder/sm_80"
  cp "$out"/*.ptx "$folder/sm_80/"
  echo "$version" >"$folder/compiler.txt"
fi
