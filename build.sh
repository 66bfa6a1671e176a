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
  test       build and run every test, native (release, asan-ubsan) and .NET; with --arm those of the next verb too
  generate   make the C# declarations of the native library and of the CUDA kernels anew from the C header and the .cuh files;
             generate --check only says what would change
  ptx        make the PTX of the CUDA kernels anew (needs clang-19; no CUDA toolkit)
  arm        build the native kernels for 64-bit Arm (NEON) and run their tests under qemu-user
  avx512     run the kernels' AVX-512 tests in Bochs, an emulator, for machines without AVX-512; from 20 minutes on. A filter
             of GoogleTest may follow; so that the code is seen to be right, not how fast it is
  native     build the native kernels
  managed    build the .NET solution
  bench      measure beside TorchSharp (downloads libtorch) and keep the results; with names of cases (see nl bench
             --help) only those; --fused-commit: product plus AdamW against both in one; --table: the README's
             table from the results that are kept
  format     format all sources; format --check only says what it would change
  clean      delete everything that was built

  --managed-only   with no verb or test: leave the native code out (also NESTED_LEARNING_MANAGED_ONLY=1)
  NESTED_LEARNING_NO_INSTALL=1   never install packages
EOF
}

log_of() { echo "$logs/$(printf '%s' "$1" | tr -c 'A-Za-z0-9\n' '-').log"; }

# step NAME COMMAND…: runs it with its output in a log, which is shown if it fails.
step() {
  local name=$1 log start=$SECONDS
  log=$(log_of "$name")
  shift
  mkdir -p "$logs"
  if (cd "$root" && "$@") >"$log" 2>&1 </dev/null; then
    say "  $name: done in $((SECONDS - start)) s"
  else
    say "  $name: FAILED after $((SECONDS - start)) s; the end of $log:"
    failures_of "$log" | tail -n 200 >&2
    return 1
  fi
}

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

# The compiler that made the committed PTX. Without it the PTX is not compared with its sources.
have_ptx_compiler() {
  command -v clang++-19 >/dev/null || {
    command -v apt-cache >/dev/null && may_install && step "install clang-19" apt_install clang-19
  }
}

# ---- verbs ----

build_native() {
  local preset=$1
  step "configure native $preset" cmake --preset "$preset" &&
    step "build native $preset" cmake --build --preset "$preset" -j "$(jobs_at_once)"
}

build_managed() {
  need_dotnet
  step "build .NET" dotnet build "$solution" -c $configuration -v quiet
}

build_all() {
  if have_native; then
    build_native release
  fi
  build_managed
}

run() {
  need_dotnet
  if have_native; then
    build_native release
  fi
  step "build nl" dotnet build src/nl/nl.csproj -c $configuration -v quiet
  exec dotnet "$artifacts/bin/nl/release/nl.dll" stream "$@"
}

generate() {
  need_dotnet
  step "build the generator" dotnet build tools/NestedLearning.Generator -c $configuration -v quiet
  dotnet "$artifacts/bin/NestedLearning.Generator/release/NestedLearning.Generator.dll" "$@" "$root"
}

bench() {
  need_dotnet
  if have_native; then
    build_native release
  fi
  cd "$root"
  exec dotnet run -c $configuration --project benchmarks/NestedLearning.Benchmarks -- "$@"
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

passed=0
failed=0
skipped=0
rows=()

# count NAME PASSED FAILED SKIPPED: one line of the summary.
count() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  skipped=$((skipped + $4))
  rows+=("$(printf '%-46s %5d passed %6d failed %6d skipped' "$1" "$2" "$3" "$4")")
}

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

# The committed PTX is what its compiler makes of the sources.
test_ptx() {
  local name="PTX of the CUDA kernels" said status=0
  have_ptx_compiler || true
  said=$("$root/native/cuda/ptx.sh" --check 2>&1) || status=$?
  case $status in
    0) count "$name" 1 0 0 ;;
    2) count "$name" 0 0 1 && say "    1 skipped: $said" ;;
    *) fail "$name" && say "$said" ;;
  esac
}

test_arm() {
  # The cross compiler, the emulator and GoogleTest's sources.
  if have_packages "64-bit Arm" g++-aarch64-linux-gnu qemu-user googletest; then
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

jobs_at_once() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

clear_results() {
  rm -rf "$results"
  mkdir -p "$results"
}

summary() {
  local row
  for row in "${rows[@]}"; do
    echo "$row"
  done
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}

test_all() {
  local preset project
  clear_results
  if have_native; then
    for preset in release asan-ubsan; do
      test_native "$preset"
    done
    # With a compiler here a missing native library is an error, not a reason to test less.
    export NESTED_LEARNING_REQUIRE_NATIVE=1
  fi
  [ "${1:-}" != --arm ] || test_arm
  test_ptx
  ! have_opencl || export NESTED_LEARNING_REQUIRE_OPENCL=1
  if find_dotnet && build_managed; then
    for project in "$root"/tests/*.Tests; do
      test_managed "$project"
    done
  else
    fail ".NET: build"
  fi

  [ "$native_state" = yes ] || echo "No native kernels were tested: $native_reason."
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
  native)
    have_native || exit 1
    build_native release
    ;;
  managed) build_managed ;;
  ptx)
    have_ptx_compiler || die "clang-19 is missing; on Debian: apt-get install clang-19."
    "$root/native/cuda/ptx.sh"
    ;;
  generate) generate "$@" ;;
  bench) bench "$@" ;;
  format) format "$@" ;;
  clean) clean ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    die "there is no verb '$verb'."
    ;;
esac
