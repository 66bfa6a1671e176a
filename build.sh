#!/usr/bin/env bash
# Builds, tests and runs. Without a verb: builds everything, the native kernels where a C++ toolchain is there.
#   ./build.sh run [ARGUMENTS]    nl stream ARGUMENTS
#   ./build.sh help               the other verbs
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
artifacts=$root/artifacts
logs=$artifacts/logs
results=$artifacts/test-results
solution=$root/NestedLearning.sln
configuration=Release
managed_only=${NESTED_LEARNING_MANAGED_ONLY:-0}

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
[ -n "${HOME:-}" ] || export HOME=/tmp

say() { printf '%s\n' "$*" >&2; }

die() {
  say "build.sh: $*"
  exit 1
}

usage() {
  cat <<'EOF'
./build.sh [VERB] [ARGUMENTS]

  (none)     build everything: native code if possible, then the .NET solution
  run        nl stream ARGUMENTS, the main job (./build.sh run --help shows them)
  test       build and run every test, native (release, asan-ubsan) and .NET; with --arm those of the verb arm too
             --quick: for the inner loop, under five minutes once everything is built. Without the sanitizers, the kernels of
             GPUs in .NET (NestedLearning.Gpu.Tests and .Cuda.Tests), among them the comparison of the PTX with its sources
  generate   make the C# declarations of the native library and of the CUDA kernels anew from the C header and the .cuh files;
             generate --check only says what would change
  ptx        make the PTX of the CUDA kernels, as every native build does where clang-19 is, and its committed hashes anew,
             native/cuda/ptx.sha256; ptx --check only says what would change. No CUDA toolkit is needed
  arm        build the native kernels for 64-bit Arm (NEON) and run their tests under qemu-user
  avx512     run the kernels' AVX-512 tests in Bochs, an emulator, for machines without AVX-512; from 20 minutes on. A filter
             of GoogleTest may follow; so that the code is seen to be right, not how fast it is
  tsan       build the native kernels with the thread sanitizer and run the pieces of every export on several threads
  native     build the native kernels
  managed    build the .NET solution
  bench      measure beside TorchSharp (downloads libtorch) and keep the results; with names of cases (see nl bench
             --help) only those; --fused-commit: product plus AdamW against both in one; --table: the README's
             table from the results that are kept
  fuzz       [MINUTES] look for inputs that break readers of files, cases and configurations, by coverage; those kept in
             tests/fuzz first. What fails or reaches new code is put into artifacts/fuzz/found
  format     format all sources; format --check only says what it would change
  clean      delete everything that was built

  --managed-only   with no verb or test: leave the native code out (also NESTED_LEARNING_MANAGED_ONLY=1)
  NESTED_LEARNING_NO_INSTALL=1   never install packages
EOF
}

log_of() { echo "$logs/$(printf '%s' "$1" | tr -c 'A-Za-z0-9\n' '-').log"; }

# step NAME COMMAND…: runs it with its output in a log, which is shown if it fails.
step() {
  begin "$@"
  finish
}

# begin NAME COMMAND…: a step beside this script and the other steps that were begun; finish waits for all of them.
step_names=()
step_processes=()
step_starts=()
changing_line=0
[ ! -t 2 ] || changing_line=1

begin() {
  local name=$1 log
  log=$(log_of "$name")
  shift
  mkdir -p "$logs"
  (cd "$root" && "$@") >"$log" 2>&1 </dev/null &
  step_names+=("$name")
  step_processes+=($!)
  step_starts+=("$SECONDS")
}

# Whether all steps that were begun succeeded. Those that take longer than ten seconds show how far they are: in one line
# that changes on a terminal, now and then elsewhere.
finish() {
  local i count=${#step_names[@]} left=${#step_names[@]} good=0 status next=10 begun=$SECONDS line
  local ended=()
  while [ "$left" -gt 0 ]; do
    sleep 0.2
    for ((i = 0; i < count; i++)); do
      [ -z "${ended[i]:-}" ] && ! kill -0 "${step_processes[i]}" 2>/dev/null || continue
      status=0
      wait "${step_processes[i]}" || status=$?
      ended[i]=1
      left=$((left - 1))
      report "$status" "${step_names[i]}" $((SECONDS - step_starts[i])) || good=1
    done
    if [ "$left" -gt 0 ] && [ $((SECONDS - begun)) -ge $next ]; then
      line=
      for ((i = 0; i < count; i++)); do
        [ -n "${ended[i]:-}" ] ||
          line+="${line:+, }${step_names[i]}: $((SECONDS - step_starts[i])) s$(progress_of "${step_names[i]}")"
      done
      if [ $changing_line = 1 ]; then
        printf '\r\033[K  %s' "$line" >&2
        next=$((SECONDS - begun + 1))
      else
        say "  … $line"
        next=$((SECONDS - begun + 20))
      fi
    fi
  done
  step_names=()
  step_processes=()
  step_starts=()
  return $good
}

# report STATUS NAME SECONDS: how a step ended.
report() {
  [ $changing_line = 0 ] || printf '\r\033[K' >&2
  if [ "$1" = 0 ]; then
    say "  $2: done in $3 s"
  else
    say "  $2: FAILED after $3 s; the end of $(log_of "$2"):"
    failures_of "$(log_of "$2")" | tail -n 200 >&2
    return 1
  fi
}

# How far Ninja or CTest is, as the log of a step has it.
progress_of() {
  tail -n 20 "$(log_of "$1")" 2>/dev/null | awk '
    /^\[[0-9]+\/[0-9]+\]/ { split($1, n, /[][\/]/); said = " (" n[2] " of " n[3] ")" }
    /^ *[0-9]+\/[0-9]+ Test / { split($1, n, "/"); said = " (" n[1] " of " n[2] ")" }
    END { printf "%s", said }'
}

# What was begun does not outlive this script.
stop() {
  local child
  for child in $(jobs -p); do stop_process "$child"; done
  exit "$1"
}

# A process and all that it started.
stop_process() {
  local child
  for child in $(pgrep -P "$1" 2>/dev/null); do stop_process "$child"; done
  kill "$1" 2>/dev/null || true
}
parts=()
trap 'stop 130' INT
trap 'stop 143' TERM

# A test log without its passed and skipped tests, which would bury the failed ones.
failures_of() {
  awk '/ Passed +[0-9.]+ sec$/ || /^ +Start +[0-9]+: / { next }
    / \[SKIP\]$/ { skip = 1; next }
    skip && /^      / { next }
    { skip = 0; print }' "$1"
}

# ---- tools ----

find_dotnet() {
  local folder
  for folder in "${DOTNET_ROOT:-}" "$HOME/.dotnet"; do
    if ! command -v dotnet >/dev/null && [ -n "$folder" ] && [ -x "$folder/dotnet" ]; then
      export DOTNET_ROOT=$folder PATH=$folder:$PATH
    fi
  done
  case $(command -v dotnet >/dev/null && dotnet --list-sdks) in
    10.* | *$'\n'10.*) ;;
    *)
      say "The .NET SDK 10 is missing. Get it from https://dotnet.microsoft.com/download/dotnet/10.0, or:"
      say "  curl -sSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel 10.0"
      return 1
      ;;
  esac
}

need_dotnet() { find_dotnet || exit 1; }

compiler() {
  local name
  for name in "${CXX:-}" c++ g++ clang++; do
    if [ -n "$name" ] && command -v "${name%% *}" >/dev/null; then
      return 0
    fi
  done
  return 1
}

# What the native build lacks, one name a line, as Debian names them.
missing_packages() {
  compiler || echo g++
  command -v cmake >/dev/null || echo cmake
  command -v ninja >/dev/null || echo ninja-build
  # Elsewhere CMake finds these or fetches Highway.
  if command -v dpkg-query >/dev/null; then
    local package
    for package in libhwy-dev libgtest-dev; do
      [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
  fi
}

may_install() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && [ "${NESTED_LEARNING_NO_INSTALL:-0}" != 1 ]
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "$@" && return
  apt-get update && apt-get install -y --no-install-recommends "$@"
}

native_state=
native_reason=

# Finds out once whether the native code can be built, installing what is missing where that is allowed.
have_native() {
  if [ -z "$native_state" ]; then
    native_state=no
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    missing=${missing% }
    if [ "$managed_only" = 1 ]; then
      native_reason="as asked"
    elif [ ! -f "$root/CMakeLists.txt" ] || [ ! -d "$root/native" ]; then
      native_reason="there is no native/ folder here"
    elif [ -z "$missing" ]; then
      native_state=yes
    elif may_install; then
      # shellcheck disable=SC2086
      if step "install $missing" apt_install $missing; then
        native_state=yes
      else
        native_reason="$missing could not be installed"
      fi
    elif command -v apt-get >/dev/null; then
      native_reason="missing: $missing; get them with: sudo apt-get install $missing"
    else
      native_reason="missing: $missing (a C++20 compiler, CMake and Ninja are needed)"
    fi
    [ "$native_state" = yes ] || say "No native kernels, everything runs on the managed backend (C#): $native_reason."
  fi
  [ "$native_state" = yes ]
}

# have_packages WHAT PACKAGE…: whether a native build is possible, with these packages, named as Debian names them.
have_packages() {
  have_native || return
  local what=$1 package missing=
  shift
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+="$package "
  done
  # shellcheck disable=SC2086
  [ -z "$missing" ] || { may_install && step "install $missing" apt_install $missing; } || {
    native_reason="missing for $what: ${missing% } (packages of Debian)"
    say "$native_reason"
    return 1
  }
}

# OpenCL on the processor, for the tests of the GPU's kernels. Without it they are skipped.
have_opencl() {
  command -v dpkg-query >/dev/null || return
  [ "$(dpkg-query -W -f '${db:Status-Status}' pocl-opencl-icd 2>/dev/null)" = installed ] ||
    { may_install && step "install pocl-opencl-icd" apt_install pocl-opencl-icd ocl-icd-libopencl1; }
}

# The compiler of the CUDA kernels' PTX: native/cuda/ptx.cmake. Without it .NET is built without PTX.
have_ptx_compiler() { command -v clang++-19 >/dev/null; }

get_ptx_compiler() {
  have_ptx_compiler || {
    command -v apt-cache >/dev/null && may_install && step "install clang-19" apt_install clang-19
  }
}

# Says once that the CUDA kernels are left out, where they are.
ptx_said=0
say_ptx() {
  have_ptx_compiler || [ $ptx_said = 1 ] || {
    ptx_said=1
    say "No CUDA kernels written by hand, NVIDIA GPUs run ILGPU's: clang-19 is missing; on Debian: sudo apt-get install clang-19."
  }
}

# An NVIDIA driver, which PTX is for.
have_nvidia() {
  command -v nvidia-smi >/dev/null || PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'
}

# PTX for verbs that build of the native code only what this machine runs.
build_ptx_for_gpu() {
  if have_nvidia; then
    say_ptx
    ! have_ptx_compiler || build_native release ptx
  fi
}

# ---- verbs ----

# native_build PRESET [TARGET]: the build itself, for a step.
native_build() {
  local preset=$1 target=${2:-all}
  cmake --preset "$preset" && cmake --build --preset "$preset" --target "$target" -j "$(jobs_at_once)"
}

build_native() { step "build native $1${2:+, $2}" native_build "$@"; }

build_managed() {
  need_dotnet
  step "build .NET" dotnet build "$solution" -c $configuration -v quiet
}

build_all() {
  if have_native; then
    say_ptx
    build_native release
  fi
  build_managed
}

# At a lower priority: projects of .NET wait for each other, objects of C++ do not.
native_build_run() { nice cmake --preset run && nice cmake --build --preset run -j "$(jobs_at_once)"; }

# Without analysis, but where the whole solution was built, which would then be compiled again.
build_nl() {
  local quick=true
  [ ! -d "$artifacts/bin/NestedLearning.Tests" ] || quick=false
  step "build nl" dotnet build src/nl/nl.csproj -c $configuration -v quiet -p:QuickBuild=$quick
}

library_in() {
  local file
  for file in "$1"/libnested_learning.so "$1"/libnested_learning.dylib "$1"/nested_learning.dll; do
    [ ! -f "$file" ] || echo "$file"
  done
}

# nl alone, and of the native library what this machine needs; where all of it was built before, that. What is built here
# for this machine alone lies in a folder of its own, and no other verb takes it.
run() {
  need_dotnet
  local own=$artifacts/bin/nl/release library
  if have_native; then
    build_ptx_for_gpu
  fi
  if ! have_native; then
    build_nl
  elif [ -n "$(library_in "$artifacts/native/release")" ]; then
    build_native release nested_learning
    build_nl
  else
    begin "build native run" native_build_run
    build_nl
    library=$(library_in "$artifacts/native/run")
    cmp -s "$library" "$own/${library##*/}" || {
      cp "$library" "$own/${library##*/}.new"
      mv "$own/${library##*/}.new" "$own/${library##*/}"
    }
  fi
  exec dotnet "$own/nl.dll" stream "$@"
}

generate() {
  need_dotnet
  step "build the generator" dotnet build tools/NestedLearning.Generator -c $configuration -v quiet
  dotnet "$artifacts/bin/NestedLearning.Generator/release/NestedLearning.Generator.dll" "$@" "$root"
}

bench() {
  need_dotnet
  if have_native; then
    build_native release nested_learning
    build_ptx_for_gpu
  fi
  cd "$root"
  exec dotnet run -c $configuration --project benchmarks/NestedLearning.Benchmarks -p:WithLibtorch=true -- "$@"
}

ptx() {
  local made=$artifacts/ptx/ptx.sha256 committed=$root/native/cuda/ptx.sha256
  have_native || exit 1
  get_ptx_compiler || die "clang-19 is missing; on Debian: sudo apt-get install clang-19."
  build_native release ptx
  if [ "${1:-}" != --check ]; then
    cp "$made" "$committed"
  elif [ "$(head -n 1 "$made")" != "$(head -n 1 "$committed")" ]; then
    die "the hashes in native/cuda/ptx.sha256 are of $(head -n 1 "$committed" | cut -c 3-), here is $(head -n 1 "$made" | cut -c 3-)."
  else
    diff "$committed" "$made" || die "native/cuda/ptx.sha256 is not of what the sources make; ./build.sh ptx makes it anew."
  fi
}

# ---- fuzz ----

# What reads input of others, a line each.
fuzz_targets() {
  printf '%s\n' safetensors checkpoint case-managed configuration gzip
  [ "$native_state" != yes ] || echo case-cpu
}

# A copy of what was built, with counters of coverage in it.
build_fuzz() {
  local name=NestedLearning.Reliability folder=$artifacts/fuzz/bin
  step "build fuzz" dotnet build "tests/$name" -c $configuration -v quiet &&
    rm -rf "$folder" && mkdir -p "$artifacts/fuzz" && cp -r "$artifacts/bin/$name/release" "$folder" &&
    step "instrument fuzz" dotnet "$artifacts/bin/$name/release/$name.dll" instrument "$folder"
}

# fuzz_target SECONDS TARGET: the kept inputs, then new ones.
fuzz_target() {
  limited $(($1 + 300)) dotnet "$artifacts/fuzz/bin/NestedLearning.Reliability.dll" fuzz "$1" "$root/tests/fuzz" "$artifacts/fuzz/found" "$2"
}

fuzz() {
  local target status=0
  need_dotnet
  ! have_native || build_native release nested_learning
  build_fuzz || exit 1
  for target in $(fuzz_targets); do begin "fuzz $target" fuzz_target $((${1:-10} * 60)) "$target"; done
  finish || status=$?
  for target in $(fuzz_targets); do cat "$(log_of "fuzz $target")"; done
  return $status
}

format() {
  need_dotnet
  local check=0 status=0
  [ "${1:-}" = --check ] && check=1
  if [ $check = 1 ]; then
    dotnet format "$solution" --verify-no-changes || status=1
  else
    dotnet format "$solution"
  fi
  if [ -d "$root/native" ]; then
    command -v clang-format >/dev/null || die "clang-format is missing; on Debian: apt-get install clang-format."
    if [ $check = 1 ]; then
      native_sources | xargs -0 clang-format --dry-run -Werror || status=1
    else
      native_sources | xargs -0 clang-format -i
    fi
  fi
  return $status
}

native_sources() {
  find "$root/native" -type f \( -name '*.h' -o -name '*.c' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0
}

clean() {
  rm -rf "$artifacts"
  find "$root" -type d -name TestResults -prune -exec rm -rf {} +
  say "Deleted what was built."
}

# ---- test ----

counts=$results/counts

# count NAME PASSED FAILED SKIPPED: one line of the summary. In a file, as parts of the tests run beside each other.
count() { printf '%s\t%d\t%d\t%d\n' "$@" >>"$counts"; }

# A step that did not work counts as one failure, so that nothing can pass by not running.
fail() { count "$1" 0 1 0; }

# attribute FILE ELEMENT NAME: a number from the first element of that name.
attribute() {
  awk -v element="$2" -v name="[ \t\n]$3=\"[0-9]+\"" '
    BEGIN { RS = "<" }
    $1 == element && match($0, name) {
      value = substr($0, RSTART, RLENGTH)
      gsub(/[^0-9]/, "", value)
      print value
      exit
    }' "$1"
}

# Kills what hangs, where the system has the means.
limited() {
  if command -v timeout >/dev/null; then
    timeout --kill-after=10 "$@"
  else
    shift
    "$@"
  fi
}

test_native() {
  local preset=$1 name="native, $1" file=$results/native-$1.xml tests failures skips disabled
  build_native "$preset" || {
    fail "$name: build"
    return
  }
  step "test native $preset" limited 1200 ctest --preset "$preset" --output-junit "$file" -j "$(jobs_at_once)" || true
  if [ ! -f "$file" ]; then
    fail "$name: no results"
    return
  fi
  tests=$(attribute "$file" testsuite tests)
  failures=$(attribute "$file" testsuite failures)
  skips=$(attribute "$file" testsuite skipped)
  disabled=$(attribute "$file" testsuite disabled)
  if [ "${tests:-0}" = 0 ] || [ -z "$failures" ]; then
    fail "$name: no tests"
    return
  fi
  skips=$((${skips:-0} + ${disabled:-0}))
  count "$name" $((tests - failures - skips)) "$failures" $skips
}

test_managed() {
  local project=$1 name file total good bad status=0
  name=$(basename "$project")
  file=$results/$name.trx
  step "test $name" limited 1200 dotnet "$artifacts/bin/$name/release/$name.dll" -trx "$file" -noColor -noLogo || status=$?
  if [ ! -f "$file" ]; then
    fail "$name: no results"
    return
  fi
  total=$(attribute "$file" Counters total)
  good=$(attribute "$file" Counters passed)
  bad=$(attribute "$file" Counters failed)
  if [ "${total:-0}" = 0 ] || [ -z "$good" ] || [ -z "$bad" ]; then
    fail "$name: no tests"
    return
  fi
  count "$name" "$good" "$bad" $((total - good - bad))
  # The reasons, alike but for a file's name counted together.
  awk '/ \[SKIP\]$/ { getline; sub(/^ */, ""); gsub(/(golden|data)\/[^\047]*/, "..."); reasons[substr($0, 1, 150)]++ }
    END { for (reason in reasons) printf "    %d skipped: %s\n", reasons[reason], reason }' "$(log_of "test $name")" >&2
  # A fixture that throws while it is taken down fails no test.
  if [ $status != 0 ] && [ "$bad" = 0 ]; then
    fail "$name: runner failed"
  fi
}

# build.ps1 under PowerShell, which is found or comes as a .NET tool.
test_powershell() {
  local name=build.ps1 tool failed=0 verb
  tool=$(command -v pwsh) || tool=$artifacts/tools/pwsh
  [ -x "$tool" ] || step "install PowerShell" dotnet tool install PowerShell --version '7.6.*' --tool-path "$artifacts/tools" || {
    say "    2 skipped: PowerShell is not here and could not be installed"
    count "$name" 0 0 2
    return
  }
  for verb in managed "run --help"; do
    # shellcheck disable=SC2086
    step "build.ps1 $verb" limited 600 "$tool" -NoProfile -File "$root/build.ps1" $verb || failed=$((failed + 1))
  done
  count "$name" $((2 - failed)) $failed 0
}

# The cross compiler, the emulator and GoogleTest's sources.
have_arm() { have_packages "64-bit Arm" g++-aarch64-linux-gnu qemu-user googletest; }

test_arm() {
  if have_arm; then
    test_native aarch64
  else
    fail "native, aarch64: $native_reason"
  fi
}

test_avx512() {
  local name="native, AVX-512 in Bochs" folder=$artifacts/native-build/avx512 tests failures
  # The emulator, and what makes a disc that it starts from.
  have_packages "AVX-512 in Bochs" bochs bochs-term busybox-static genisoimage isolinux syslinux-common || {
    fail "$name: $native_reason"
    return
  }
  build_native release || {
    fail "$name: build"
    return
  }
  rm -f "$folder/results.xml"
  step "test in Bochs" native/tests/avx512_in_bochs.sh artifacts/native-build/release/native/tests/native_tests "$folder" \
    "$@" || true
  if [ -f "$folder/results.xml" ]; then
    tests=$(attribute "$folder/results.xml" testsuites tests)
    failures=$(attribute "$folder/results.xml" testsuites failures)
  fi
  if [ "${tests:-0}" = 0 ] || [ -z "${failures:-}" ]; then
    fail "$name: no results"
    return
  fi
  count "$name" $((tests - failures)) "$failures" 0
}

# Ten seconds of each, and all inputs that are kept.
test_fuzz() {
  local target
  build_fuzz || {
    fail "fuzz: build"
    return
  }
  for target in $(fuzz_targets); do
    if step "fuzz $target" fuzz_target 10 "$target"; then
      count "fuzz $target" 1 0 0
    else
      fail "fuzz $target"
    fi
  done
}

jobs_at_once() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

clear_results() {
  rm -rf "$results"
  mkdir -p "$results"
}

summary() {
  [ -s "$counts" ] || fail "tests: none ran"
  sort "$counts" | awk -F '\t' '
    { printf "%-46s %5d passed %6d failed %6d skipped\n", $1, $2, $3, $4
      passed += $2; failed += $3; skipped += $4 }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
      exit failed > 0 }'
}

# beside COMMAND…: runs a part of the tests beside this script; join waits for all of them.
beside() {
  (
    trap 'stop 143' TERM
    parts=()
    changing_line=0
    "$@"
  ) &
  parts+=($!)
}

join() {
  local part
  for part in "${parts[@]}"; do
    wait "$part" || fail "a part of the tests: stopped"
  done
  parts=()
}

test_native_all() {
  test_native release
  [ "$quick" = 1 ] || test_native asan-ubsan
  [ "$arm" = 0 ] || test_native aarch64
}

test_managed_all() {
  local project
  if ! build_managed; then
    fail ".NET: build"
    return
  fi
  for project in "$root"/tests/*.Tests; do
    case $quick$project in
      1*.Gpu.Tests | 1*.Cuda.Tests) ;;
      *) test_managed "$project" ;;
    esac
  done
  [ "$quick" = 1 ] || {
    test_powershell
    test_fuzz
  }
}

# The native library, which the .NET tests take; then two halves beside each other, as neither keeps every core busy.
test_all() {
  local arm=0 quick=0 option
  for option in "$@"; do
    case $option in
      --arm) arm=1 ;;
      --quick) quick=1 ;;
      --managed-only) managed_only=1 ;;
      *) die "test knows --arm, --quick and --managed-only, not '$option'." ;;
    esac
  done
  clear_results
  if have_native; then
    # With a compiler here a missing native library is an error, not a reason to test less.
    export NESTED_LEARNING_REQUIRE_NATIVE=1
    [ $arm = 0 ] || have_arm || {
      fail "native, aarch64: $native_reason"
      arm=0
    }
  fi
  if [ $quick = 0 ]; then
    # Before .NET is built, which embeds PTX.
    [ "$native_state" != yes ] || get_ptx_compiler || say_ptx
    ! have_opencl || export NESTED_LEARNING_REQUIRE_OPENCL=1
  fi
  if have_native; then
    build_native release for_dotnet || true
    beside test_native_all
  fi
  if find_dotnet; then
    beside test_managed_all
  else
    fail ".NET: build"
  fi
  join

  [ "$native_state" = yes ] || echo "No native kernels were tested: $native_reason."
  [ $quick = 0 ] || echo "Left out, as it was to be quick: the sanitizers, the kernels of GPUs in .NET, the PTX's sources, build.ps1."
  summary
}

verb=${1:-all}
case $verb in
  --managed-only) verb=all ;;
  *) [ $# -gt 0 ] && shift ;;
esac
if [ "${1:-}" = --managed-only ] && [ "$verb" != run ]; then
  managed_only=1
  shift
fi

case $verb in
  all) build_all ;;
  run) run "$@" ;;
  test) test_all "$@" ;;
  arm)
    clear_results
    test_arm
    summary
    ;;
  avx512)
    clear_results
    test_avx512 "$@"
    summary
    ;;
  tsan)
    have_native || exit 1
    clear_results
    test_native tsan
    summary
    ;;
  native)
    have_native || exit 1
    say_ptx
    build_native release
    ;;
  managed) build_managed ;;
  ptx) ptx "$@" ;;
  generate) generate "$@" ;;
  bench) bench "$@" ;;
  fuzz) fuzz "$@" ;;
  format) format "$@" ;;
  clean) clean ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    die "there is no verb '$verb'."
    ;;
esac
