#!/usr/bin/env bash
# Makes artifacts/gpu-check/gpu-check.tar.gz: what tools/gpu-check.sh needs on a machine with a GPU and without .NET or network.
# It holds nl and the tests of the GPU backends with one .NET runtime (linux-x64), the PTX and the sources of the CUDA kernels, the
# golden cases, and both scripts. Without PTX it is not made: ./build.sh makes that where clang-19 is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/artifacts/gpu-check
most=$((60 * 1000 * 1000))
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1

no_ptx() {
  echo "gpu-publish.sh: $*, and what is published always has the CUDA kernels: ./build.sh native makes their PTX, with clang-19" \
    "(Debian: apt-get install clang-19)" >&2
  exit 1
}

[ -n "$(find "$root"/artifacts/ptx/*/ -name '*.ptx' 2>/dev/null)" ] || no_ptx "there is no PTX in artifacts/ptx"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$root"
# A folder and no single file: the runner of xunit loads the tests from where their assembly lies. Both share one runtime.
for project in tests/NestedLearning.Gpu.Tests src/nl; do
  dotnet publish $project -c Release -r linux-x64 --self-contained -p:DebugType=none -v quiet -o "$folder/gpu-check/bin"
done
# PTX of other sources is left out by the build.
"$folder/gpu-check/bin/nl" doctor | grep '^CUDA kernels .* files of PTX' || no_ptx "the build left out the PTX in artifacts/ptx, of other sources"
find native/cuda native/kernels -maxdepth 2 \( -name '*.cu' -o -name '*.cuh' -o -name '*.h' \) -exec cp --parents {} "$folder/gpu-check" \;
cp --parents tools/gpu-check.sh tools/gpu_peers.py tests/golden/*.safetensors "$folder/gpu-check"

rm -rf "$out"
mkdir -p "$out"
tar -C "$folder" -cf - gpu-check | gzip -9 >"$out/gpu-check.tar.gz"
size=$(wc -c <"$out/gpu-check.tar.gz")
echo "$out/gpu-check.tar.gz: $((size / 1000000)) MB"
[ "$size" -lt $most ] || {
  echo "gpu-publish.sh: that is more than $((most / 1000000)) MB" >&2
  exit 1
}
