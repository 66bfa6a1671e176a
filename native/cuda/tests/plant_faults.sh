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

for kernel in cross_entropy scan; do
  source=native/kernels/$kernel/$kernel.cu
  filter=$([ $kernel = scan ] && echo '*CudaScan*' || echo '*CudaCrossEntropy*')
  grep -n '__syncthreads();' "$source" | cut -d: -f1 >lines
  while read -r line; do
    plant "$kernel.cu:$line: barrier dropped" "$source" "$source" "$filter" "${line}s/__syncthreads();/;/" </dev/null
  done <lines
done
block=native/cuda/block.cuh tile=native/cuda/tile.cuh scan=native/kernels/scan/scan.cu adam=native/kernels/adam/adam.cu
step=native/kernels/adam/adam-inl.cuh product=native/kernels/gemm/gemm-inl.cuh commit=native/kernels/gemm_adam/gemm_adam.cu
plant "block.cuh: barrier of a block's sum dropped" $block $adam '*CudaAdam*' 's/  __syncthreads();/  ;/'
plant "tile.cuh: A's middle fragments of tf32 swapped" $tile $scan '*CudaScan*' \
  's/RoundToTf32(a(g + 8, k + t)),/RoundToTf32(a(g, k + t + 4)),/; s/RoundToTf32(a(g, k + t + 4)), RoundToTf32(a(g + 8, k + t + 4))/RoundToTf32(a(g + 8, k + t)), RoundToTf32(a(g + 8, k + t + 4))/'
plant "tile.cuh: B's fragments of bf16 swapped" $tile $scan '*CudaScan*' 's/PackBf16(b(left, j/PackBf16(b(right, j/; s/PackBf16(b(right, j \* 8 + g), b(right + 1/PackBf16(b(left, j * 8 + g), b(left + 1/'
plant "scan-inl.cuh: erase of the state after the token" native/kernels/scan/scan-inl.cuh $scan '*CudaScan*' 's/-co.erase\[t\] \* before \*/-co.erase[t] * g */'
plant "adam-inl.cuh: the second moment not corrected" $step $adam '*CudaAdam*' 's/ \* a.root_scale//'
plant "adam-inl.cuh: random bits not from within a four" $step $commit '*CudaGemmAdam*' 's/const int shift = .*;/const int shift = 0;/'
plant "gemm-inl.cuh: barrier after the sums dropped" $product $commit '*CudaGemmAdam*' '/tile.Stage(pass, staging);/{n;s/__syncthreads();/;/}'
plant "gemm-inl.cuh: barrier between passes dropped" $product $commit '*CudaGemmAdam*' 's/if (pass) __syncthreads();/;/'
plant "gemm_adam.cu: cleared unasked" $commit $commit '*CudaGemmAdam*' 's/if (adam.clear) //'
echo "$planted faults planted, $missed missed"
[ $missed = 0 ]
