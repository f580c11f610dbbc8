#!/usr/bin/env bash
# launch/run.sh brings runs that die to their end, gives up where that does not help, and passes signals on;
# launch/verify.sh says equal where runs are, and different for a program that adds in the wrong order.
#   test_run.sh SOURCES WORK_FOLDER, with LOCKSTEP, LOCKSTEP_FAULTY, LOCKSTEP_SEQUENTIAL, LOCKSTEP_MADE_DATA
set -euo pipefail
SOURCES=$1
# shellcheck source-path=SCRIPTDIR source=../faults/common.sh
source "$SOURCES/tests/faults/common.sh" "$2"
export LOCKSTEP
RUN=(steps=40 checkpoint_interval=4)

# Runs run.sh; sets CODE.
launch() { # FOLDER PROGRAM ARGUMENTS..
  local folder=$1
  CODE=0
  LOCKSTEP=$2 "$SOURCES/launch/run.sh" "${@:3}" "output=$folder" >"$folder.out" 2>"$folder.err" </dev/null || CODE=$?
}

expect_restarts() { # COUNT FOLDER WHAT
  local restarts
  restarts=$(grep -c '^run.sh: .*starting again' "$2.err" || true)
  ((restarts == $1)) || fail "$3: $restarts restarts, expected $1" "$2"
}

make_reference "${RUN[@]}"

# Every process dies in its tenth step, which brings two checkpoints further: five deaths, and never two in vain.
FAULTY=die:1:10 launch "$WORK/dying" "$LOCKSTEP_FAULTY" -n 2 --restarts 1 "${SETTINGS[@]}" "${RUN[@]}"
expect_equal "$WORK/dying" "a run that dies in every tenth step"
expect_restarts 4 "$WORK/dying" "a run that dies in every tenth step"

# No new checkpoint: given up, with the code of the last run.
FAULTY=die:0:2 launch "$WORK/vain" "$LOCKSTEP_FAULTY" -n 2 --restarts 2 "${SETTINGS[@]}" "${RUN[@]}"
((CODE == 137)) || fail "a run that always dies: exit $CODE" "$WORK/vain"
expect_restarts 2 "$WORK/vain" "a run that always dies"
grep -q 'given up after 2 restarts' "$WORK/vain.err" || fail "giving up is not said" "$WORK/vain"

# What starting again does not help is not started again.
launch "$WORK/dying" "$LOCKSTEP" "${SETTINGS[@]}" "${RUN[@]}" lr=0.25
((CODE == 2)) || fail "another configuration: exit $CODE" "$WORK/dying"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" lr=much
((CODE == 2)) || fail "a bad value: exit $CODE" "$WORK/other"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" "data=$WORK/nowhere"
((CODE == 78)) || fail "no data: exit $CODE" "$WORK/other"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" optimizer=sgd lr=1000 l2_mean=1000000 steps=100
((CODE == 71)) || fail "a loss that is not finite: exit $CODE" "$WORK/other"
for folder in "$WORK/dying" "$WORK/other"; do expect_restarts 0 "$folder" "no fault"; done

# Signals at run.sh. A second SIGINT ends the run at once; the first is like the others.
for signal in USR1 TERM INT; do
  folder=$WORK/signal-$signal
  # a background process of a script ignores SIGINT unless it is told not to
  python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$SOURCES/launch/run.sh" "${SETTINGS[@]}" "${RUN[@]}" steps=3000 "output=$folder" \
    >"$folder.out" 2>"$folder.err" </dev/null &
  MPIRUN=$!
  STARTED=("$MPIRUN")
  until has_checkpoint "$folder"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
    sleep 0.02
  done
  kill -"$signal" "$MPIRUN"
  finish
  ((CODE == 75)) || fail "SIG$signal at run.sh: exit $CODE, expected 75" "$folder"
  expect_restarts 0 "$folder" "SIG$signal"
done

verify() { # PROGRAM
  CODE=0
  LOCKSTEP=$1 LOCKSTEP_VERIFY_FOLDER=$WORK/verify "$SOURCES/launch/verify.sh" --steps 60 "$CONFIG" \
    "data=$LOCKSTEP_MADE_DATA" >"$WORK/verify.out" 2>"$WORK/verify.err" </dev/null || CODE=$?
}
verify "$LOCKSTEP"
((CODE == 0)) || fail "verify.sh: exit $CODE" "$WORK/verify"
(($(grep -c ' equal$' "$WORK/verify.out") == 4)) || fail "verify.sh: expected four rows that are equal" "$WORK/verify"
grep -q '^Equal: ' "$WORK/verify.out" || fail "verify.sh: no verdict" "$WORK/verify"
cat "$WORK/verify.out"
verify "$LOCKSTEP_SEQUENTIAL"
((CODE == 1)) || fail "verify.sh with a wrong sum: exit $CODE" "$WORK/verify"
grep -q ' DIFFERENT$' "$WORK/verify.out" || fail "verify.sh with a wrong sum: no row differs" "$WORK/verify"
