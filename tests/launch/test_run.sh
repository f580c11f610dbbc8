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
  latest_words "${@:3}" "output=$folder"
  LOCKSTEP=$2 "$SOURCES/launch/run.sh" "${WORDS[@]}" >"$folder.out" 2>"$folder.err" </dev/null || CODE=$?
}

expect_restarts() { # COUNT FOLDER WHAT
  local restarts
  restarts=$(grep -c '^run.sh: .*starting again' "$2.err" || true)
  ((restarts == $1)) || fail "$3: $restarts restarts, expected $1" "$2"
}

make_reference "${RUN[@]}"

# Every process dies in its tenth step, which brings two checkpoints further: five deaths, and never two in vain. In a
# folder whose name is anything but a word.
DYING="$WORK/dy ing #1 \"q\" 'r' \\s ~ a: b"
FAULTY=die:1:10 launch "$DYING" "$LOCKSTEP_FAULTY" -n 2 --restarts 1 "${SETTINGS[@]}" "${RUN[@]}"
expect_equal "$DYING" "a run that dies in every tenth step"
expect_restarts 4 "$DYING" "a run that dies in every tenth step"

# No new checkpoint: given up, with the code of the last run.
FAULTY=die:0:2 launch "$WORK/vain" "$LOCKSTEP_FAULTY" -n 2 --restarts 2 "${SETTINGS[@]}" "${RUN[@]}"
((CODE == 137)) || fail "a run that always dies: exit $CODE" "$WORK/vain"
expect_restarts 2 "$WORK/vain" "a run that always dies"
grep -q 'given up after 2 restarts' "$WORK/vain.err" || fail "giving up is not said" "$WORK/vain"

# What cannot be the name of a folder here, and a configuration that cannot be read again.
launch $'dying\nagain' "$LOCKSTEP" "${SETTINGS[@]}" "${RUN[@]}"
((CODE == 2)) || fail "a folder with a newline: exit $CODE" $'dying\nagain'
grep -q 'control character' $'dying\nagain.err' || fail "a folder with a newline: not said" $'dying\nagain'
rm $'dying\nagain.out' $'dying\nagain.err'
CODE=0
"$SOURCES/launch/run.sh" <(cat "$CONFIG") 2>"$WORK/pipe.err" || CODE=$?
((CODE == 2)) || fail "a pipe as CONFIG: exit $CODE" "$WORK/pipe"
grep -q 'a pipe, which can be read once' "$WORK/pipe.err" || fail "a pipe as CONFIG: not said" "$WORK/pipe"

# What starting again does not help is not started again.
launch "$DYING" "$LOCKSTEP" "${SETTINGS[@]}" "${RUN[@]}" lr=0.25
((CODE == 2)) || fail "another configuration: exit $CODE" "$DYING"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" lr=much
((CODE == 2)) || fail "a bad value: exit $CODE" "$WORK/other"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" "data=$WORK/nowhere"
((CODE == 78)) || fail "no data: exit $CODE" "$WORK/other"
launch "$WORK/other" "$LOCKSTEP" "${SETTINGS[@]}" optimizer=sgd lr=1000 l2_mean=1000000 steps=100
((CODE == 71)) || fail "a loss that is not finite: exit $CODE" "$WORK/other"
for folder in "$DYING" "$WORK/other"; do expect_restarts 0 "$folder" "no fault"; done

# Signals at run.sh. A second SIGINT ends the run at once; the first is like the others.
for signal in USR1 TERM INT; do
  folder=$WORK/signal-$signal
  latest_words "${SETTINGS[@]}" "${RUN[@]}" steps=3000 "output=$folder"
  # a background process of a script ignores SIGINT unless it is told not to
  python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$SOURCES/launch/run.sh" "${WORDS[@]}" \
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
  LOCKSTEP=$1 LOCKSTEP_VERIFY_FOLDER="$WORK/ver ify #2 \"q\" 'r'" "$SOURCES/launch/verify.sh" --steps 60 "$CONFIG" \
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
