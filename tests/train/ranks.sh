#!/usr/bin/env bash
# Do runs on any number of ranks and threads leave the same trail, step by step? Trains once on one rank of one thread
# and compares the fingerprint trail of every other way to run with it.
#
#   ranks.sh [--expect-difference] [--reference WORD] BINARY WORK_FOLDER RANKS THREADS TRAIN_ARGUMENTS..
#
# The first run has WORD, such as device=cpu, behind the arguments of all others.
# RANKS and THREADS are lists such as "2 3 5 8"; ranks may be those of hosts, as a:2,b:1 (tests/hosts/hosts.sh), where a
# "+node" behind them has mpirun place them in turn. With --expect-difference (for a binary that is wrong on purpose) the
# test passes when every run ends well and some trail differs. Exits with 77 where mpirun or h5dump is missing.
set -euo pipefail

EXPECT_DIFFERENCE=no
if [[ $1 == --expect-difference ]]; then
  EXPECT_DIFFERENCE=yes
  shift
fi
REFERENCE=()
if [[ $1 == --reference ]]; then
  REFERENCE=("$2")
  shift 2
fi
BINARY=$1 WORK=$2 RANKS=$3 THREADS=$4
shift 4

# shellcheck source-path=SCRIPTDIR source=../words.bash
source "$(dirname "$0")/../words.bash"
for tool in mpirun h5dump; do
  command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done

# Runs and puts the trail as text into WORK/NAME.trail.
run() { # NAME RANKS THREADS TRAIN_ARGUMENTS..
  local name=$1 ranks=$2 threads=$3 launcher=(-n "$2")
  shift 3
  if [[ $ranks == *:* ]]; then launcher=(-H "${ranks%+node}"); fi
  if [[ $ranks == *+node ]]; then launcher+=(--map-by node); fi
  latest_words "$@"
  mpirun "${launcher[@]}" "$BINARY" train "${WORDS[@]}" threads="$threads" output="$WORK/$name" overwrite=true trail_interval=1 \
    progress=none >"$WORK/$name.out" 2>"$WORK/$name.err" || {
    echo "$name failed with exit code $?:"
    cat "$WORK/$name.out" "$WORK/$name.err"
    exit 1
  }
  h5dump -m %.17g -d /trail/step -d /trail/fingerprint -d /trail/tensors -d /epoch/train_loss \
    -d /epoch/validation_loss -d /epoch/validation_accuracy "$WORK/$name/metrics.h5" | tail -n +2 >"$WORK/$name.trail"
  tail -n 1 "$WORK/$name.out" >>"$WORK/$name.trail"
}

DIFFERENT=0
compare() { # NAME
  if cmp -s "$WORK/reference.trail" "$WORK/$1.trail"; then
    echo "$1: equal, $(tail -n 1 "$WORK/$1.trail")"
  else
    echo "$1: DIFFERS: $(diff "$WORK/reference.trail" "$WORK/$1.trail" | sed -n 2p)"
    DIFFERENT=$((DIFFERENT + 1))
  fi
}

rm -rf "$WORK"
mkdir -p "$WORK"
run reference 1 1 "$@" "${REFERENCE[@]}"
STEPS=$(sed -n 's/.*DATASPACE  SIMPLE { ( \([0-9]*\) .*/\1/p' "$WORK/reference.trail" | head -n 1)
echo "reference: $STEPS steps, $(tail -n 1 "$WORK/reference.trail")"
((STEPS > 1)) || { echo "no trail"; exit 1; }
for n in $RANKS; do
  run "ranks-$n" "$n" 1 "$@"
  compare "ranks-$n"
done
for n in $THREADS; do
  run "threads-$n" 1 "$n" "$@"
  compare "threads-$n"
done
if [[ $EXPECT_DIFFERENCE == yes ]]; then
  ((DIFFERENT > 0)) && echo "differs, as it must" && exit 0
  echo "the wrong sum was not noticed" && exit 1
fi
((DIFFERENT == 0))
