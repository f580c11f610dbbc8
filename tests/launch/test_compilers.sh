#!/usr/bin/env bash
# Two programs of the same sources by two compilers: equal runs, to the bit, with portable and with vector kernels.
# test_compilers.sh LOCKSTEP WORK_FOLDER DATA EXPERIMENTS; the second program is LOCKSTEP_SECOND.
set -euo pipefail
FIRST=$1 WORK=$2 DATA=$3 EXPERIMENTS=$4
SECOND=${LOCKSTEP_SECOND:-}
[[ -n $SECOND ]] || { echo "skipped: no LOCKSTEP_SECOND (launch/test.sh builds by a second compiler)" && exit 77; }

compiler_of() { "$1" --version | sed -n 's/^compiler //p'; }
[[ $(compiler_of "$FIRST") != "$(compiler_of "$SECOND")" ]] ||
  { echo "both programs are by $(compiler_of "$FIRST")" && exit 1; }
echo "$(compiler_of "$FIRST") and $(compiler_of "$SECOND")"

rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"

train() { # BINARY FOLDER CONFIG KEY=VALUE..
  "$1" train "$3" "data=$DATA" "output=$2" "${@:4}" >"$2.log" 2>&1 || { cat "$2.log" && exit 1; }
}

CASES=0
compare() { # CONFIG KEY=VALUE..
  local isa
  for isa in portable best; do
    CASES=$((CASES + 1))
    if [[ $isa == portable ]]; then export LOCKSTEP_ISA=portable; else unset LOCKSTEP_ISA; fi
    train "$FIRST" "first$CASES" "$@"
    train "$SECOND" "second$CASES" "$@"
    "$FIRST" diff "first$CASES" "second$CASES" >diff.log ||
      { cat diff.log && echo "$*, $isa kernels: the compilers' bits differ" && exit 1; }
  done
}

compare "$EXPERIMENTS/table1/row6-published.yaml" split=1700 epochs=1 augment=0.5
compare "$EXPERIMENTS/cnn/network3-inferred.yaml" split=1900 batch=40 steps=4 augment=0.5
compare "$EXPERIMENTS/table2/row1-stated.yaml" split=100 batch=40 steps=1
compare "$EXPERIMENTS/cnn/network3-inferred.yaml" split=1900 batch=40 steps=3 precision=bf16
echo "$CASES pairs of runs: equal"
