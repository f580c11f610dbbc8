#!/usr/bin/env bash
# Does this GPU give the CPU's bits, and how fast is it? Ten minutes at most, the most important first, into one text file.
set -uo pipefail

usage() {
  cat <<'END'
usage: launch/gpu-check.sh [-o FILE] [BUILD]

Checks a build that holds kernels for GPUs (LOCKSTEP_CUDA=on), which may have been made on another machine:

  what there is     GPU, driver, program, commit
  kernels           the tests BUILD/tests/cuda/*_gpu: each kernel against the CPU's, to the bit
  bits              an MLP, a CNN and the ResNet, a few steps: device=cuda on 1 and 2 ranks against device=cpu
  epochs            one of row 6 of Table 1 and of the ResNet on the GPU
  rates             lockstep bench step on the GPU
  memory errors     compute-sanitizer on the tests of kernels, where it is installed

  BUILD       the build folder; default build/release
  -o FILE     what is written, beside the terminal; default gpu-check.txt

MNIST is looked for in LOCKSTEP_DATA (default data/mnist). Each part has a time limit of its own. A part that cannot run is
skipped and says why. Exit code: 0 all parts that ran are well, 1 something is wrong, 77 there is no GPU.
END
}

BUILD=build/release OUT=gpu-check.txt
while (($#)); do
  case $1 in
    -h | --help) usage && exit 0 ;;
    -o) OUT=${2:?-o needs a file} && shift ;;
    -*) usage >&2 && exit 2 ;;
    *) BUILD=$1 ;;
  esac
  shift
done

TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$TOP/launch/environment.sh"
BUILD=$(realpath -m -- "$BUILD") OUT=$(realpath -m -- "$OUT")
export LOCKSTEP_DATA=${LOCKSTEP_DATA:-$TOP/data/mnist}
PROGRAM=$BUILD/lockstep
[[ -x $PROGRAM ]] || stop 2 "$PROGRAM: no such program. Build it with -DLOCKSTEP_CUDA=on, or name the build folder."
mpi_environment
cd "$TOP" || exit 2
WORK=$(mktemp -d) || exit 2
trap 'rm -rf -- "$WORK"' EXIT
: >"$OUT" || exit 2
FAILED=0 RAN=0 ALL=600

say() { printf '%s\n' "$@" | tee -a "$OUT"; }
part() { # TITLE
  say "" "== $1 (at $SECONDS s)"
}
bad() {
  FAILED=1
  say "WRONG: $1"
}
skip() {
  say "SKIPPED: $1"
}

# Sets LIMIT to what a part may still take: of its own seconds, and of the ten minutes of all.
allow() { # SECONDS
  LIMIT=$((ALL - SECONDS < $1 ? ALL - SECONDS : $1))
  if ((LIMIT <= 0)); then
    skip "the rest: the $ALL s are over"
    finish
  fi
}

finish() {
  say "" "$RAN checks ran to their end, $SECONDS s. Written to $OUT."
  if ((FAILED)); then say "SOMETHING IS WRONG (see above)"; fi
  exit "$FAILED"
}

# Runs a command with a limit; its last lines go into the file.
limited() { # SECONDS LINES COMMAND...
  local limit lines=$2 status=0
  allow "$1"
  limit=$LIMIT
  shift 2
  timeout --kill-after=5 "$limit" "$@" >"$WORK/output" 2>&1 </dev/null || status=$?
  tail -n "$lines" "$WORK/output" | tee -a "$OUT"
  if ((status == 124 || status == 137)); then say "stopped after $limit s"; fi
  return "$status"
}

what_there_is() {
  part "What there is"
  say "commit $(git -C "$TOP" rev-parse --short HEAD 2>/dev/null || echo 'not known: no repository')"
  limited 20 12 "$PROGRAM" --version || bad "$PROGRAM does not start"
  if ! command -v nvidia-smi >/dev/null; then
    skip "no nvidia-smi, so no driver: nothing can run on a GPU here"
    exit 77
  fi
  limited 20 8 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv || {
    skip "nvidia-smi finds no GPU"
    exit 77
  }
  lscpu | grep -E '^(Model name|CPU\(s\))' | tee -a "$OUT"
}

kernels() {
  part "Kernels against the CPU's, to the bit"
  local test status found=no
  for test in "$BUILD"/tests/cuda/*_gpu; do
    [[ -x $test ]] || continue
    found=yes status=0
    limited 60 3 "$test" || status=$?
    say "$(basename "$test"): exit $status"
    if ((status == 77)); then
      skip "$(basename "$test") found no GPU"
    elif ((status != 0)); then
      bad "$(basename "$test")"
    else
      RAN=$((RAN + 1))
    fi
  done
  [[ $found == yes ]] || skip "$BUILD/tests/cuda holds no tests for GPUs: build with LOCKSTEP_CUDA=on"
}

# The fingerprint of a few steps, within what allow() has left. 0 ranks: without mpirun.
fingerprint() { # RANKS CONFIG KEY=VALUE...
  local ranks=$1 run=()
  shift
  if ((ranks > 0)); then run=(mpirun -n "$ranks"); fi
  timeout --kill-after=5 "$LIMIT" "${run[@]}" "$PROGRAM" train "$@" output="$WORK/run" overwrite=true progress=none \
    >"$WORK/output" 2>&1 </dev/null || { tail -n 3 "$WORK/output" >&2 && return 1; }
  sed -n 's/^fingerprint //p' "$WORK/output"
}

bits() {
  part "Bits: a few steps on the GPU against the CPU"
  local config cpu gpu ranks
  for config in experiments/table1/row6-published.yaml experiments/cnn/network1-inferred.yaml \
    experiments/table2/row1-stated.yaml; do
    allow 60
    cpu=$(fingerprint 0 "$config" steps=5 device=cpu) || { bad "$config on the CPU" && continue; }
    for ranks in 0 2; do
      if ((ranks > 0)) && ! command -v mpirun >/dev/null; then
        skip "no mpirun"
        continue
      fi
      allow 60
      gpu=$(fingerprint "$ranks" "$config" steps=5 device=cuda) || { bad "$config on the GPU, $ranks ranks" && continue; }
      RAN=$((RAN + 1))
      say "$config, $((ranks > 0 ? ranks : 1)) ranks: CPU $cpu, GPU $gpu"
      [[ -n $cpu && $cpu == "$gpu" ]] || bad "$config: other bits than on the CPU"
    done
  done
}

epochs() {
  part "An epoch on the GPU"
  local config
  for config in experiments/table1/row6-published.yaml experiments/table2/row1-stated.yaml; do
    say "$config"
    limited 90 4 "$PROGRAM" train "$config" epochs=1 device=cuda output="$WORK/epoch" overwrite=true ||
      bad "an epoch of $config"
  done
}

rates() {
  part "Rates of a step of 256"
  local config precision
  for config in experiments/table1/row6-published.yaml experiments/table2/row1-stated.yaml; do
    for precision in fp32 bf16; do
      say "$config $precision"
      limited 40 12 "$PROGRAM" bench step "$config" augment=0 precision="$precision" device=cuda || bad "bench of $config $precision"
    done
  done
}

memory_errors() {
  part "compute-sanitizer"
  local test tool
  if ! command -v compute-sanitizer >/dev/null; then
    skip "compute-sanitizer is not installed (it comes with the CUDA toolkit)"
    return
  fi
  for tool in memcheck racecheck; do
    for test in "$BUILD"/tests/cuda/test_{vector,dense,layers}_cuda_gpu; do
      [[ -x $test ]] || continue
      say "$tool $(basename "$test")"
      limited 40 3 compute-sanitizer --tool "$tool" --error-exitcode 9 "$test"
      (($? == 9)) && bad "$tool of $(basename "$test")"
    done
  done
}

what_there_is
kernels
if [[ -d $LOCKSTEP_DATA ]]; then
  bits
  epochs
  rates
else
  skip "no data in $LOCKSTEP_DATA: LOCKSTEP_DATA=FOLDER names MNIST"
fi
memory_errors
finish
