#!/usr/bin/env bash
# Limits that the system sets against a process (ulimit, signals, streams that are closed) and surroundings in which MPI
# cannot start: what can be survived is, everything else is one message of the program and a documented exit code, never
# a signal.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SHORT=(train "${SETTINGS[@]}" steps=3 overwrite=true "output=$WORK/run")

# Runs the program under limits in this process's place; sets CODE. Words to $WORK/said.
limited() { # ULIMIT_ARGUMENTS.. -- ARGUMENTS..
  local limits=()
  while [[ $1 != -- ]]; do limits+=("$1") && shift; done
  shift
  CODE=0
  (exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- && ulimit "${limits[@]}" && exec timeout 60 "$LOCKSTEP" "$@") >"$WORK/said" 2>&1 </dev/null || CODE=$?
}

expect_told() { # WHAT: it ended well, or with one message and the code of a limit
  case $CODE in
    0) survived=$((survived + 1)) ;;
    70 | 74)
      told=$((told + 1))
      (($(grep -c 'lockstep: .*error: ' "$WORK/said") == 1)) || fail "$1: expected one message: $(tail -n 3 "$WORK/said")" ;;
    *) fail "$1: exit $CODE: $(tail -n 3 "$WORK/said")" ;;
  esac
}

# Between them the limits must have been felt, and the program must run under the widest.
expect_both() { # WHAT
  ((survived > 0 && told > 0)) || fail "$1: $survived runs survived, $told failed: expected some of both"
  echo "$1: $survived runs went well, $told ended with a message"
}

each() { # NAME OPTION VALUES.. -- ARGUMENTS..
  local name=$1 option=$2 values=() value
  shift 2
  while [[ $1 != -- ]]; do values+=("$1") && shift; done
  shift
  survived=0 told=0
  for value in "${values[@]}"; do
    limited "$option" "$value" -- "$@"
    expect_told "$name $value"
  done
  expect_both "$name"
}

# Files: what is said goes into one too, so the program needs a pipe to say it. Sizes are KiB.
survived=0 told=0
for size in 0 4 16 64 100000; do
  CODE=0
  set +e
  (ulimit -f "$size" && exec timeout 60 "$LOCKSTEP" "${SHORT[@]}" comm=self 2>&1 </dev/null) | cat >"$WORK/said"
  CODE=${PIPESTATUS[0]}
  set -e
  expect_told "file size $size"
  if ((CODE != 0)); then
    grep -q "$WORK/run/.*: a file may have $((size * 1024)) bytes at most here (ulimit -f)" "$WORK/said" ||
      fail "file size $size: path and limit are not named: $(cat "$WORK/said")"
  fi
  if has_temporary "$WORK/run"; then fail "file size $size: a temporary file is left"; fi
done
expect_both "file size"

each "open files" -n 4 5 6 8 64 -- "${SHORT[@]}" comm=self
each "open files, MPI" -n 8 16 64 -- "${SHORT[@]}" comm=mpi
each "stack" -s 64 512 1024 8192 -- "${SHORT[@]}" threads=2
limited -Ss 64 -- "${SHORT[@]}" threads=2
((CODE == 0)) || fail "a soft limit of the stack: exit $CODE: $(tail -n 1 "$WORK/said")"
if [[ -z ${LOCKSTEP_SANITIZED:-} ]]; then # sanitizers need terabytes of addresses
  wide=$(seq 36000 2000 60000)
  # shellcheck disable=SC2086 # a list of numbers
  each "addresses" -v $wide 400000 -- "${SHORT[@]}" comm=self network.2.dense.units=1000
  each "addresses, MPI" -v 60000 120000 1000000 -- "${SHORT[@]}" comm=mpi
  each "data" -d 4000 8000 11000 11500 12000 16000 400000 -- "${SHORT[@]}" comm=self
fi

# Memory of the machine: refused before data are read, with the number that inspect prints and the machine's.
HUGE=("network=[flatten, {dense: {units: 30000}}, {dense: {units: 10}}]" precision=fp64 eval_batch=1048576 batch=1048576)
needed=$("$LOCKSTEP" inspect "$CONFIG" "data=$LOCKSTEP_MADE_DATA" "${HUGE[@]}" | awk '/^ *ranks /{table = 1} table && $1 == 1 {printf "%.0f", $6}')
for ranks in 0 2; do
  launcher=()
  if ((ranks)); then launcher=(mpirun -n "$ranks"); fi
  CODE=0
  "${launcher[@]}" "$LOCKSTEP" train "${SETTINGS[@]}" "${HUGE[@]}" "output=$WORK/huge" >"$WORK/said" 2>&1 || CODE=$?
  ((CODE == 70)) || fail "a network that is too large, $ranks ranks: exit $CODE: $(tail -n 3 "$WORK/said")"
  (($(grep -cE 'needs [0-9]+ MiB here .*(the machine|its control group) has [0-9]+ MiB: .*memory=ignore' "$WORK/said") == 1)) ||
    fail "a network that is too large, $ranks ranks: not said: $(cat "$WORK/said")"
  [[ ! -e $WORK/huge ]] || fail "a network that is too large, $ranks ranks: a run was begun"
  if ((ranks == 0)); then grep -q "needs $needed MiB" "$WORK/said" || fail "inspect says $needed MiB: $(cat "$WORK/said")"; fi
done
if [[ -z ${LOCKSTEP_SANITIZED:-} ]]; then
  limited -v 2000000 -- train "${SETTINGS[@]}" "${HUGE[@]}" "output=$WORK/huge" memory=ignore
  if ((CODE != 70)) || ! grep -q 'out of memory: ' "$WORK/said"; then
    fail "memory=ignore: exit $CODE: $(tail -n 1 "$WORK/said")"
  fi
fi

# Processor time: the soft limit asks the run to stop.
rm -rf "$WORK/run"
limited -St 1 -- train "${SETTINGS[@]}" "output=$WORK/run" epochs=1000000
((CODE == 75)) || fail "processor time: exit $CODE, expected 75: $(tail -n 3 "$WORK/said")"
grep -q 'warning: the limit of processor time is reached (ulimit -t)' "$WORK/said" || fail "processor time: not said"
has_checkpoint "$WORK/run" || fail "processor time: no checkpoint"

# A model to look at.
limited -c 0 -- train "${SETTINGS[@]}" "output=$WORK/model" steps=3
model=$WORK/model/checkpoint-3.h5

# Nobody reads: what goes into a file is written all the same, and the failure is told.
for verb in eval attack; do
  for how in pipe closed full; do
    CODE=0 file=$WORK/$verb-$how.h5
    arguments=("$verb" "$model" "data=$LOCKSTEP_MADE_DATA" --output "$file")
    case $how in
      pipe) "$LOCKSTEP" "${arguments[@]}" 2>"$WORK/said" | true || CODE=$? ;;
      closed) "$LOCKSTEP" "${arguments[@]}" >&- 2>"$WORK/said" || CODE=$? ;;
      full) "$LOCKSTEP" "${arguments[@]}" >/dev/full 2>"$WORK/said" || CODE=$? ;;
    esac
    # a pipe whose reader is about to go may still take what is said
    if [[ $how == pipe && $CODE == 0 ]]; then :; else ((CODE == 74)) || fail "$verb, $how: exit $CODE, expected 74"; fi
    [[ -s $file ]] || fail "$verb, $how: no file: $(cat "$WORK/said")"
  done
done

# --- where MPI cannot start: a step of Slurm, whose processes Open MPI does not find without PMI

slurm() { # TASKS: the variables of a process in it
  env SLURM_JOB_ID=1 SLURM_JOBID=1 SLURM_NODELIST=n1 SLURM_PROCID=0 SLURM_NTASKS="$1" SLURM_STEP_ID=0 SLURM_STEPID=0 \
    SLURM_STEP_NUM_TASKS="$1" timeout 60 "$LOCKSTEP" "${@:2}" >"$WORK/said" 2>&1 </dev/null || CODE=$?
}
LOOK=("data=$LOCKSTEP_MADE_DATA" eval_batch=100)
for arguments in "1 ${SHORT[*]}" "4 ${SHORT[*]} comm=self" "1 eval $model ${LOOK[*]}" "4 eval $model comm=self ${LOOK[*]}" \
  "4 attack $model comm=self ${LOOK[*]}" "4 bench step $CONFIG data=$LOCKSTEP_MADE_DATA bench_steps=1 comm=self"; do
  CODE=0
  # shellcheck disable=SC2086 # no blanks in any of the words
  slurm $arguments
  ((CODE == 0)) || fail "in a step of Slurm, $arguments: exit $CODE: $(tail -n 2 "$WORK/said")"
done
# Open MPI that does know Slurm starts, and the program then sees that it is not the only one
CODE=0
slurm 4 "${SHORT[@]}"
if ((CODE == 70)); then
  (($(grep -c 'lockstep: error: MPI cannot start here.*comm=self.*mpirun' "$WORK/said") == 1)) || fail "Slurm without PMI: not said"
elif ((CODE != 2)); then
  fail "Slurm without PMI: exit $CODE, expected 70"
fi
CODE=0
"$LOCKSTEP" eval "$model" comm=carrier >"$WORK/said" 2>&1 || CODE=$?
((CODE == 2)) || fail "eval comm=carrier: exit $CODE, expected 2"
echo "limits, streams and surroundings: survived or told"
