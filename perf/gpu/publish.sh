#!/usr/bin/env bash
# Packs the kernel tests, the benchmarks and the .NET runtime into one compressed file under 50 MB, for a GPU machine that
# has no .NET and no network. There: tar -xJf FILE && tracefed-gpu/run.sh
# usage: perf/gpu/publish.sh [FILE]   (default artifacts/tracefed-gpu.tar.xz)
set -euo pipefail
file=$(realpath -m "${1:-artifacts/tracefed-gpu.tar.xz}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/tracefed-gpu

dotnet publish tests/TraceFed.Kernels.Tests -c Release -o "$root/tests" -p:DebugType=none >&2
dotnet publish perf/TraceFed.Benchmarks -c Release -o "$root/benchmarks" -p:DebugType=none >&2

# What only other systems load.
find "$root" -name '*.xml' -delete
rm -rf "$root"/*/{x86,amd64,arm64}
find "$root" -path '*/runtimes/*' -type d \( -name 'win*' -o -name 'osx*' -o -name '*arm*' -o -name '*musl*' -o -name 'browser*' \) -prune -exec rm -rf {} +

# The runtime of this machine's SDK, the newest of the version that the projects are built for.
sdk=$(dirname "$(readlink -f "$(command -v dotnet)")")
newest() { find "$sdk/$1" -mindepth 1 -maxdepth 1 -name '10.*' | sort -V | tail -n 1; }
for part in host/fxr shared/Microsoft.NETCore.App shared/Microsoft.AspNetCore.App; do
  mkdir -p "$root/dotnet/$part"
  cp -r "$(newest "$part")" "$root/dotnet/$part/"
done
cp "$sdk/dotnet" "$sdk/LICENSE.txt" "$sdk/ThirdPartyNotices.txt" "$root/dotnet/"
cp perf/gpu/run.sh "$root/"

mkdir -p "$(dirname "$file")"
tar -C "$work" -c tracefed-gpu | xz -6 -T0 > "$file"
bytes=$(stat -c %s "$file")
echo "$file: $bytes bytes"
if [ "$bytes" -ge 50000000 ]; then
  echo 'The file is not under 50 MB.' >&2
  exit 1
fi
