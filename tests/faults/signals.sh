#!/usr/bin/env bash
# A run that is asked to stop, at any moment and whoever of it is asked, writes a checkpoint of the same step on all ranks,
# ends with 75, and goes on to the bits of one that was left alone.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

RUN=(steps=200 eval_batch=100)
LAUNCHER=() # as users run it
CASES=$((6 * SCALE))

# The run was stopped, or had come to its end.
expect_stopped() { # FOLDER WHAT
  if ((CODE == 0)); then
    ended=$((ended + 1))
    return 0
  fi
  ((CODE == 75)) || fail "$2: exit $CODE, expected 75" "$1"
  (($(grep -cE 'error:|stopped on request' "$1.err") == 1)) || fail "$2: expected one message" "$1"
  grep -q "warning: stopped on request after step [0-9]*, checkpoint written" "$1.err" || fail "$2: not said" "$1"
  has_checkpoint "$1" || fail "$2: no checkpoint" "$1"
  all_gone 5 || fail "$2: processes are left" "$1"
  stopped=$((stopped + 1))
}

begin=$(date +%s%N)
make_reference "${RUN[@]}"
# The signal comes within the first part of a run, however fast the machine is.
window=$((2 * ($(date +%s%N) - begin) / 5000000 + 1))
stopped=0 ended=0
for ((i = 0; i < CASES; i++)); do
  ranks=$((1 + RANDOM % 4)) folder=$WORK/run
  start "$folder" "$ranks" "$LOCKSTEP" -- "${RUN[@]}"
  find_ranks "$ranks" || fail "no ranks" "$folder"
  # From the lock on a run can be stopped; before, there is nothing to keep.
  until [[ -e $folder/config.yaml ]]; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
    sleep 0.005
  done
  moment=$((RANDOM % window))
  sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
  victim=$((RANDOM % ranks))
  case $((i % 3)) in
    0) what="SIGUSR1 at mpirun" signals=(USR1) target=$MPIRUN ;;
    1) what="two SIGUSR1 at rank $victim" signals=(USR1 USR1) target=${RANK_PIDS[victim]} ;;
    2) what="SIGTERM at rank $victim" signals=(TERM) target=${RANK_PIDS[victim]} ;;
  esac
  for signal in "${signals[@]}"; do
    kill -"$signal" "$target" 2>/dev/null || true # the run may be over
    sleep 0.01
  done
  finish
  expect_stopped "$folder" "$what of $ranks"
  run "$folder" $((1 + RANDOM % 4)) "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  expect_equal "$folder" "$what of $ranks"
  rm -rf "$folder"
done
((stopped * 2 > CASES)) || fail "only $stopped of $CASES runs were stopped before their end"
echo "$CASES signals: $stopped runs stopped, $ended had come to their end; all equal to the bit"

# SIGTERM at mpirun: it kills the ranks after its time-out, so that must be long enough for a step and a checkpoint. It says
# 1 then, whatever the ranks say.
folder=$WORK/run
LAUNCHER=(--mca odls_base_sigkill_timeout 4)
start "$folder" 3 "$LOCKSTEP" -- "${RUN[@]}"
until [[ -e $folder/config.yaml ]]; do
  kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
  sleep 0.005
done
find_ranks 3 || fail "no ranks" "$folder"
kill -TERM "$MPIRUN"
finish
((CODE != 0)) || fail "SIGTERM at mpirun: exit 0" "$folder"
all_gone 5 || fail "SIGTERM at mpirun: processes are left" "$folder"
has_checkpoint "$folder" || fail "SIGTERM at mpirun: no checkpoint" "$folder"
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto
expect_equal "$folder" "SIGTERM at mpirun"
rm -rf "$folder"
LAUNCHER=()

# At moments that are hard to hit (WHAT:RANK:WHEN, see faulty.c), with all that an evaluation can be made of: of the 25 batches
# after an epoch of 17 steps 17 collect statistics, 3 are of the validation samples and 5 of the test set, which after the
# third and last epoch is the one at the end, after statistics that are collected once more: 25 + 25 + 20 + 22.
RUN=(steps=51 test_interval=1 eval_batch=100 defaults.batchnorm.statistics=dataset)
folder=$WORK/run
make_reference "${RUN[@]}" checkpoint_interval=17 keep=3

number() { # FILE ARGUMENTS of h5dump that choose one number
  local file=$1
  shift
  h5dump -m %.17g "$@" "$file" | sed -n 's/^ *([0-9]*): \([0-9]*\)$/\1/p'
}

# The fingerprint after STEP and so many batches behind it: statistics are collected as a whole or not at all.
fingerprint_after() { # STEP BATCHES
  if (($2 <= 17)); then
    number "$WORK/reference/metrics.h5" -d /trail/fingerprint -s $(($1 - 1)) -c 1
  else
    number "$WORK/reference/checkpoint-$1.h5" -a /progress/fingerprint
  fi
}

# A run of 3 ranks stopped after STEP, and BATCHES of evaluations in all: they and no others were begun.
interrupt() { # WHAT STEP BATCHES [SETTINGS..]
  local what=$1 step=$2 batches=$3 fingerprint expected
  shift 3
  expected=$(fingerprint_after "$step" $((step % 17 ? 0 : batches - 25 * (step / 17 - 1))))
  run "$folder" 3 env "FAULTY=$what" "FAULTY_COUNT=$WORK/batches" "$LOCKSTEP_FAULTY" -- "${RUN[@]}" "$@"
  ((CODE == 75)) || fail "$what: exit $CODE, expected 75" "$folder"
  (($(grep -c "warning: stopped on request after step $step, checkpoint written" "$folder.err") == 1)) ||
    fail "$what: expected one message of step $step" "$folder"
  (($(cat "$WORK/batches") == batches)) || fail "$what: $(cat "$WORK/batches") batches, expected $batches" "$folder"
  [[ $(newest "$folder") == */checkpoint-$step.h5 ]] || fail "$what: no checkpoint of step $step" "$folder"
  (($(h5dump -d /step/step "$folder/metrics.h5" | grep -c "^ *([0-9]*): .*\b$step\b") == 1)) ||
    fail "$what: metrics.h5 does not reach step $step" "$folder"
  fingerprint=$(number "$(newest "$folder")" -a /progress/fingerprint)
  [[ -n $fingerprint && $fingerprint == "$expected" ]] ||
    fail "$what: the checkpoint's fingerprint is $fingerprint, expected $expected" "$folder"
}

resume() { # WHAT
  run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  expect_equal "$folder" "$1"
  rm -rf "$folder"
}

for what in signal:0:1 signal:2:1 signal:2:17 signal:1:50 signal:1:51; do
  step=${what##*:}
  interrupt "$what" "$step" $((25 * ((step - 1) / 17)))
  resume "$what"
done
# collecting, validation, test; the same of the last epoch, and of the end
for place in 0:1:17 2:9:17 0:18:17 1:19:17 2:24:17 1:25:17 0:33:34 1:60:51 0:69:51 2:75:51 1:92:51; do
  what=batch:${place%:*} batch=${place#*:}
  interrupt "$what" "${place##*:}" "${batch%:*}"
  resume "$what"
done
interrupt batch:1:19 17 19
interrupt batch:0:18 17 18 resume=auto
interrupt batch:2:32 34 32 resume=auto
resume "three times"
echo "19 signals between and within evaluations: no batch too many, all equal to the bit"

# The verbs that look at a model stop in the same way, and leave nothing behind.
for verb in eval attack; do
  CODE=0
  FAULTY=batch:1:2 FAULTY_COUNT=$WORK/batches mpirun -n 3 "$LOCKSTEP_FAULTY" "$verb" "$(newest "$WORK/reference")" \
    "data=$LOCKSTEP_MADE_DATA" eval_batch=100 --output "$WORK/$verb.h5" >"$WORK/$verb.out" 2>"$WORK/$verb.err" || CODE=$?
  ((CODE == 75)) || fail "$verb: exit $CODE, expected 75" "$WORK/$verb"
  (($(grep -c 'warning: stopped on request$' "$WORK/$verb.err") == 1)) || fail "$verb: expected one message" "$WORK/$verb"
  (($(cat "$WORK/batches") == 2)) || fail "$verb: $(cat "$WORK/batches") batches, expected 2" "$WORK/$verb"
  [[ ! -s $WORK/$verb.out && ! -e $WORK/$verb.h5 ]] || fail "$verb: said or wrote something" "$WORK/$verb"
done

# The first SIGINT stops as the others do; a second ends the process where it stands, here in a slow fsync.
folder=$WORK/interrupted
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0
run_alone "$folder" "$LOCKSTEP" -- steps=3
for interrupts in 1 2; do
  rm -rf "$folder"
  env LD_PRELOAD="$LOCKSTEP_FAILING_FILES" FAILING_FILES_FOLDER="$folder/checkpoint" FAILING_FILES_DELAY=2000 \
    "$LOCKSTEP" train "${SETTINGS[@]}" comm=self "output=$folder" epochs=100000 checkpoint_interval=1 \
    >"$folder.out" 2>"$folder.err" </dev/null &
  MPIRUN=$!
  STARTED=("$MPIRUN")
  until has_temporary "$folder"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
    sleep 0.01
  done
  since=$(date +%s%N)
  kill -INT "$MPIRUN"
  if ((interrupts == 2)); then
    sleep 0.1
    kill -INT "$MPIRUN"
  fi
  finish
  took=$((($(date +%s%N) - since) / 1000000))
  if ((interrupts == 1)); then
    ((CODE == 75)) || fail "SIGINT: exit $CODE, expected 75" "$folder"
    has_checkpoint "$folder" || fail "SIGINT: no checkpoint" "$folder"
  else
    ((CODE == 130)) || fail "a second SIGINT: exit $CODE, expected 130" "$folder"
    ((took < 1500)) || fail "a second SIGINT: took $took ms" "$folder"
  fi
done
echo "eval, attack, a second SIGINT: as expected"
