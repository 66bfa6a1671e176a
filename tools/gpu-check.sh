#!/usr/bin/env bash
# Checks and measures on a machine with a GPU, without .NET and network. What it runs is artifacts/gpu-check/gpu-check.tar.gz, made
# by tools/gpu-publish.sh. It starts in a checkout that has that file, or where the file was unpacked.
#   tools/gpu-check.sh [OPTIONS] [STEP…]   steps: machine ptx nvcc doctor suite golden sanitize bench; without any, all
#   --device NAME     cuda unless given; another backend, to see the script itself work
#   --scale N         divides the sizes that bench measures
#   --rounds N        of bench, 3 unless given: ours, then PyTorch, and again
# All output is kept in $OUT, or in benchmarks/results/DEVICE/gpu-check/. A step takes less than ten minutes. The exit status is
# 1 if a step failed; what the machine has no tool for is skipped, and a missing device is a failure.
# It has not run on a GPU: machine, ptx, nvcc and sanitize as far as a machine without their tools, the others on opencl and managed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
device=cuda scale=1 rounds=3 golden=$root/tests/golden steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --device | --scale | --rounds)
      [ $# -gt 1 ] || {
        echo "gpu-check.sh: $1 needs a value" >&2
        exit 2
      }
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    machine | ptx | nvcc | doctor | suite | golden | sanitize | bench) steps+=("$1") ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
[ ${#steps[@]} -gt 0 ] || steps=(machine ptx nvcc doctor suite golden sanitize bench)
export PATH=$PATH:/usr/local/cuda/bin
# PyTorch brings a cuBLAS that the loader does not find by itself.
blas=$(python3 -c 'import glob, nvidia.cublas as b; print(*glob.glob(b.__path__[0] + "/lib/libcublas.so.1[12]")[:1])' 2>/dev/null)
[ -z "$blas" ] || export NESTED_LEARNING_CUBLAS=$blas

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
name=$(printf '%s' "${gpu:-no gpu}" | tr '[:upper:]' '[:lower:]' | tr -cs '[:alnum:]' -)
out=${OUT:-$root/benchmarks/results/${name%-}/gpu-check}
mkdir -p "$out"
out=$(cd "$out" && pwd)

bin=$root/bin
if [ ! -x "$bin/nl" ]; then
  archive=$root/artifacts/gpu-check/gpu-check.tar.gz
  bin=$root/artifacts/gpu-check-unpacked/gpu-check/bin
  [ -f "$archive" ] || {
    echo "gpu-check.sh: $archive is missing; tools/gpu-publish.sh makes it where .NET is" >&2
    exit 1
  }
  rm -rf "$root/artifacts/gpu-check-unpacked"
  mkdir -p "$root/artifacts/gpu-check-unpacked"
  tar -xzf "$archive" -C "$root/artifacts/gpu-check-unpacked" || exit 1
fi
nl=$bin/nl

# A step's last line is its result. These end it: not done, and why.
skip() {
  echo "$*"
  exit 77
}

need() { command -v "$1" >/dev/null || skip "no $1 here"; }

need_device() {
  local line
  line=$("$nl" doctor | grep "^$device ") || line="$device: no such backend"
  case $line in
    *" passed over "*) echo "no device: ${line#* passed over }" && exit 1 ;;
    *" chosen "* | *" available "*) ;;
    *) echo "$line" && exit 1 ;;
  esac
}

need_golden() {
  [ -d "$golden" ] || {
    echo "no golden cases in '$golden'"
    exit 1
  }
}

step_machine() {
  uname -srm
  for tool in nvcc ptxas compute-sanitizer python3; do
    command -v $tool >/dev/null && $tool --version 2>&1 | tail -n 2
  done
  python3 "$root/tools/gpu_peers.py" --versions
  need nvidia-smi
  nvidia-smi || exit 1
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,compute_cap --format=csv,noheader
}

# Registers, shared memory and spills of every kernel, those made by ILGPU and those written by hand.
step_ptx() {
  local arch file table=$out/ptxas.md failed=0 said
  "$nl" doctor --ptx "$out/ptx" || exit 1
  need ptxas
  echo "| file | kernel | for | registers | shared bytes | spilled bytes |" >"$table"
  echo "| --- | --- | --- | ---: | ---: | ---: |" >>"$table"
  for arch in sm_80 sm_90 sm_90a; do
    for file in "$out"/ptx/*/*.ptx; do
      # PTX that uses what one architecture alone has is for no other.
      case $(sed -n 's/^\.target *\(sm_[0-9a-z]*\).*/\1/p' "$file") in
        *a) [ $arch = sm_90a ] || continue ;;
        sm_90) [ $arch != sm_80 ] || continue ;;
      esac
      if ! said=$(ptxas -v -arch=$arch "$file" -o /dev/null 2>&1); then
        failed=$((failed + 1))
        printf '%s for %s:\n%s\n' "$file" $arch "$said"
        continue
      fi
      printf '%s\n' "$said" | ptxas_rows "${file#"$out"/ptx/}" $arch >>"$table"
    done
  done
  cat "$table"
  echo "$(grep -c '| sm_' "$table") kernels assembled, $failed files refused, $(grep -c SPILLS "$table") kernels spill"
  [ $failed = 0 ]
}

# The rows of the table from what ptxas -v says of a file.
ptxas_rows() {
  awk -v file="$1" -v arch="$2" '
    # The number before a word.
    function before(word,   text) {
      if (!match($0, "[0-9]+ " word)) return 0
      text = substr($0, RSTART, RLENGTH)
      return text + 0
    }
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; spilled = 0 }
    /spill stores/ { spilled = before("bytes spill stores") + before("bytes spill loads") }
    /Used [0-9]+ registers/ {
      printf "| %s | %s | %s | %d | %d | %d%s |\n", file, kernel, arch, before("registers"), before("bytes smem"), spilled, spilled ? " SPILLS" : ""
    }'
}

step_nvcc() {
  local source arch failed=0 count=0
  need nvcc
  mkdir -p "$out/nvcc"
  for source in "$root"/native/kernels/*/*.cu; do
    arch=sm_80
    [ -f "$out/ptx/sm_80/$(basename "$source" .cu).ptx" ] || [ ! -f "$out/ptx/sm_90a/$(basename "$source" .cu).ptx" ] || arch=sm_90a
    count=$((count + 1))
    nvcc -ptx -ftz=true -std=c++20 --expt-relaxed-constexpr -arch=$arch -I "$root/native" "$source" -o "$out/nvcc/$(basename "$source" .cu).ptx" || failed=$((failed + 1))
  done
  echo "$count sources, $failed refused"
  [ $count -gt 0 ] && [ $failed = 0 ]
}

step_doctor() {
  "$nl" doctor || exit 1
  need_device
  echo "$device works"
}

step_suite() {
  local classes
  case $device in
    cuda) classes=Cuda ;;
    opencl) classes=OpenCl ;;
    ilgpu-cpu) classes=IlgpuCpu ;;
    *) skip "there is no suite of '$device' here" ;;
  esac
  need_device
  need_golden
  NESTED_LEARNING_REQUIRE_CUDA=1 timeout 580 "$bin/NestedLearning.Gpu.Tests" -class "*.${classes}*" -noColor -noLogo -trx "$out/suite.trx" >"$out/suite.txt" 2>&1
  local status=$? result
  result=$(grep -o 'Total: .*' "$out/suite.txt" | tail -n 1)
  grep -v '\[SKIP\]' "$out/suite.txt" | head -n 300
  [ $status != 124 ] || result="not done after 580 s"
  echo "${result:-the runner failed}"
  [ $status = 0 ] && ! grep -q 'Total: 0,' "$out/suite.txt"
}

step_golden() {
  need_device
  need_golden
  timeout 580 "$nl" check "$golden" --device "$device"
}

step_sanitize() {
  local tool failed=0
  need_device
  need compute-sanitizer
  [ "$device" = cuda ] || skip "compute-sanitizer is for cuda"
  need_golden
  for tool in memcheck racecheck synccheck; do
    echo "== $tool"
    timeout 190 compute-sanitizer --tool $tool --error-exitcode 9 --target-processes all "$nl" check --device "$device" \
      "$golden"/{adam,newton-schulz,scan-delta-0,scan-delta-0-backward,scan-momentum-0-backward}.safetensors || {
      echo "$tool: exit status $? (9: it found something, 124: not done after 190 s)"
      failed=$((failed + 1))
    }
  done
  echo "$((3 - failed)) of 3 tools found nothing"
  [ $failed = 0 ]
}

step_bench() {
  local round peer=cpu failed=0 start=$SECONDS
  need_device
  [ "$device" != cuda ] || peer=cuda
  rm -f "$out"/{ours,peers}.jsonl
  for round in $(seq "$rounds"); do
    # What is measured so far is kept where another round would not fit.
    [ "$round" = 1 ] || [ $(((SECONDS - start) * round / (round - 1))) -lt 580 ] || break
    # Our own products: PyTorch's are cuBLAS's.
    NESTED_LEARNING_CUBLAS=off timeout 290 "$nl" bench --large --scale "$scale" --tensor-cores --json --device "$device" >>"$out/ours.jsonl" || failed=1
    timeout 290 python3 "$root/tools/gpu_peers.py" --scale "$scale" --device $peer >>"$out/peers.jsonl" || failed=1
    echo "round $round: $((SECONDS - start)) s so far"
  done
  python3 "$root/tools/gpu_peers.py" --table "$out/ours.jsonl" "$out/peers.jsonl" >"$out/bench.md" || failed=1
  cat "$out/bench.md"
  echo "$(wc -l <"$out/ours.jsonl") measurements of ours, in $out/bench.md"
  [ $failed = 0 ]
}

for step in "${steps[@]}"; do
  start=$SECONDS
  ("step_$step") >"$out/$step.log" 2>&1 </dev/null
  case $? in
    0) result=OK ;;
    77) result=SKIPPED ;;
    *) result=FAILED ;;
  esac
  printf '%-8s %-8s %4d s  %s\n' $result "$step" $((SECONDS - start)) "$(tail -n 1 "$out/$step.log")"
done | tee "$out/summary.txt"
failed=$(grep -c ^FAILED "$out/summary.txt")
skipped=$(grep -c ^SKIPPED "$out/summary.txt")
echo "$((${#steps[@]} - failed - skipped)) OK, $failed failed, $skipped skipped; everything is in $out" | tee -a "$out/summary.txt"
[ "$failed" = 0 ]
