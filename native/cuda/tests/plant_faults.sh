#!/usr/bin/env bash
# Plants faults in the CUDA kernels, one at a time, and says whether their tests see them: each barrier dropped, fragments
# taken for each other, a coefficient of the token beside. Not part of a test run: each fault is a build, some minutes in all.
#   native/cuda/tests/plant_faults.sh      exit status 1 where one was missed
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root/native" "$work/native"
cd "$work"
flags=(-std=c++20 -O2 -DNL_CUDA_EMULATE -DHWY_IS_DEBUG_BUILD=0 -ffp-contract=off -Wno-unknown-pragmas -Inative -Inative/include)
compiler=${CXX:-g++}

for source in native/cuda/emulator.cc native/cuda/tests/*_test.cc; do
  "$compiler" "${flags[@]}" -c "$source" -o "$(basename "$source").o"
done
objects() { for source in native/kernels/*/*.cu; do echo "$(basename "$source").o"; done; }
build() { "$compiler" "${flags[@]}" -x c++ -c "$1" -o "$(basename "$1").o"; }
for source in native/kernels/*/*.cu; do build "$source"; done

# shellcheck disable=SC2046
tests() {
  "$compiler" ./*_test.cc.o emulator.cc.o $(objects) -o tests -lgtest -lgtest_main -pthread
  timeout 300 ./tests --gtest_filter="$1" >out.txt 2>&1
}
tests '*' || {
  cat out.txt
  echo "the tests fail without any fault"
  exit 1
}

planted=0 missed=0
# plant NAME FILE SOURCE FILTER SED: a fault of FILE, which the kernels of SOURCE include.
plant() {
  local name=$1 file=$2 source=$3 filter=$4 change=$5
  cp "$file" kept
  sed -i "$change" "$file"
  if cmp -s "$file" kept; then
    echo "no such place: $name"
    missed=$((missed + 1))
    return
  fi
  build "$source"
  planted=$((planted + 1))
  if tests "$filter"; then
    echo "MISSED  $name"
    missed=$((missed + 1))
  else
    echo "caught  $name"
  fi
  cp kept "$file"
  build "$source"
}

for kernel in cross_entropy scan self_modifying; do
  source=native/kernels/$kernel/$kernel.cu
  case $kernel in
    scan) filter='*CudaScan*' ;;
    self_modifying) filter='*CudaSelfModifying*' ;;
    *) filter='*CudaCrossEntropy*' ;;
  esac
  grep -n '__syncthreads();' "$source" | cut -d: -f1 >lines
  while read -r line; do
    plant "$kernel.cu:$line: barrier dropped" "$source" "$source" "$filter" "${line}s/__syncthreads();/;/" </dev/null
  done <lines
done
functions=native/cuda/functions.cuh tile=native/cuda/tile.cuh scan=native/kernels/scan/scan.cu adam=native/kernels/adam/adam.cu
self_modifying=native/kernels/self_modifying/self_modifying.cu
plant "functions.cuh: barrier of a block's sum dropped" $functions $adam '*CudaAdam*' 's/  __syncthreads();/  ;/'
plant "tile.cuh: A's middle fragments of tf32 swapped" $tile $scan '*CudaScan*' \
  's/RoundToTf32(a(g + 8, k + t)),/RoundToTf32(a(g, k + t + 4)),/; s/RoundToTf32(a(g, k + t + 4)), RoundToTf32(a(g + 8, k + t + 4))/RoundToTf32(a(g + 8, k + t)), RoundToTf32(a(g + 8, k + t + 4))/'
plant "tile.cuh: B's fragments of bf16 swapped" $tile $scan '*CudaScan*' 's/PackBf16(b(left, j/PackBf16(b(right, j/; s/PackBf16(b(right, j \* 8 + g), b(right + 1/PackBf16(b(left, j * 8 + g), b(left + 1/'
plant "scan.cu: erase of the state after the token" $scan $scan '*CudaScan*' 's/shared.erase\[t\] \* before/shared.erase[t] * g/'
plant "self_modifying.cu: norms of some rows over the first columns alone" $self_modifying $self_modifying '*CudaSelfModifying*' \
  's/to\[8 \* across\] = lower/to[8 * across] = at.column ? 0 : lower/'
plant "self_modifying.cu: dS of the later columns added to the first" $self_modifying $self_modifying '*CudaSelfModifying*' \
  's/part \* a.dim + first + left/part * a.dim + left/'
plant "adam.cu: the second moment not corrected" $adam $adam '*CudaAdam*' 's/ \* a.root_scale//'
echo "$planted faults planted, $missed missed"
[ $missed = 0 ]
