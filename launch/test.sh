#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test; ends in CTest's own summary and with its exit code.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/test.sh [PRESET] [ARGUMENTS of ctest]

  PRESET        ci (default: release with warnings as errors, built by a second compiler too, whose program must give
                the same bits, and for GPUs where nvcc is), release, debug, asan, tsan, gcc, clang
  ARGUMENTS     for example -R dense, --rerun-failed

Tests that need MNIST look into LOCKSTEP_DATA (default: data/mnist, if it is there) and are skipped without it.
LOCKSTEP_INSTALL=no never installs anything.
END
}

# Sets PRESET, and RUNNER to what goes in front of ctest.
read_preset() {
  PRESET=$1 RUNNER=()
  case $PRESET in
    ci | release | debug | asan | gcc | clang) ;;
    # Kernels that randomise addresses by more than 28 bits place libraries where the thread sanitizer of gcc 12 and 13
    # keeps its shadow memory. (Some containers forbid the switch.)
    tsan) if setarch -R true 2>/dev/null; then RUNNER=(setarch -R); fi ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
}

# CTest runs in the build folder, so the tests get an absolute path.
find_test_data() {
  if [[ -n ${LOCKSTEP_DATA:-} ]]; then
    LOCKSTEP_DATA=$(realpath -m -- "$LOCKSTEP_DATA")
  elif has_idx_files "$TOP/data/mnist"; then
    LOCKSTEP_DATA=$TOP/data/mnist
  else
    return 0
  fi
  export LOCKSTEP_DATA
}

# Everything once more, by clang; or by gcc, where the first compiler was clang (CC=clang). CTest compares the two programs.
build_by_second_compiler() {
  local first second=clang
  first=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' build/release/CMakeCache.txt)
  if "$first" --version | grep -q clang; then second=gcc; fi
  if ! command -v "$second" >/dev/null; then
    echo "No $second: the build by a second compiler, and the comparison of its bits, are left out."
    return
  fi
  CC='' build "$second"
  export LOCKSTEP_SECOND=$TOP/build/$second/lockstep
}

# The program with kernels for GPUs, where nvcc is: CTest starts it without a device. That by the second compiler has them.
build_for_gpus() {
  if [[ -n ${LOCKSTEP_SECOND:-} ]] && grep -q '^CMAKE_CUDA_COMPILER:[A-Z]*=/' "$(dirname "$LOCKSTEP_SECOND")/CMakeCache.txt"; then
    export LOCKSTEP_WITH_CUDA=$LOCKSTEP_SECOND
    return
  fi
  if ! command -v "${CUDACXX:-nvcc}" >/dev/null && [[ ! -x /usr/local/cuda/bin/nvcc ]]; then
    echo "No nvcc: the build for GPUs is left out."
    return
  fi
  build cuda --target lockstep
  export LOCKSTEP_WITH_CUDA=$TOP/build/cuda/lockstep
}

read_preset "${1:-ci}"
TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$TOP/launch/environment.sh"
find_test_data
cd "$TOP"
install_packages "${BUILD_PACKAGES[@]}" "${PLOT_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
build "$PRESET"
if [[ $PRESET == ci ]]; then
  build_by_second_compiler
  build_for_gpus
fi
mpi_environment
exec "${RUNNER[@]}" ctest --preset "$PRESET" "${@:2}"
