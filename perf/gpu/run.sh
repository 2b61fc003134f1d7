#!/usr/bin/env bash
# Runs the kernel tests and the kernel figures on this machine and prints one table. Fails when a test fails, and when there
# is a GPU on which no kernel test ran. Unpacked by perf/gpu/publish.sh's file; needs nothing that is not in it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export DOTNET_ROOT=$PWD/dotnet DOTNET_CLI_TELEMETRY_OPTOUT=1
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 # the machine may have no ICU
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:/usr/local/nvidia/lib64 # where containers put the driver

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no NVIDIA driver here'
tests/TraceFed.Kernels.Tests -noColor 2>&1 | grep -E '\[FAIL\]|\[SKIP\]|kernel launches|Assert|Error|Total:'
status=${PIPESTATUS[0]}
echo
benchmarks/TraceFed.Benchmarks kernels || status=1
exit "$status"
