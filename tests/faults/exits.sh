#!/usr/bin/env bash
# What a run leaves for each exit code: on every way out that can still write, the rows of all steps that were measured, and
# nothing that was there before is touched where nothing was begun.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$WORK/run

rows() { # FOLDER: steps that metrics.h5 has rows of
  h5dump -H -d /step/step "$1/metrics.h5" | sed -n 's/.*DATASPACE *SIMPLE { ( \([0-9]*\) ).*/\1/p'
}

expect_code() { # CODE WHAT
  ((CODE == $1)) || fail "$2: exit $CODE, expected $1" "$folder"
}

expect_rows() { # COUNT WHAT
  local found
  found=$(rows "$folder")
  [[ $found == "$1" ]] || fail "$2: rows of $found steps, expected $1" "$folder"
  if has_temporary "$folder"; then fail "$2: a temporary file is left" "$folder"; fi
}

# The step in which the message says that something was found.
step_said() { grep -o 'step [0-9]*' "$folder.err" | head -n 1 | tr -dc 0-9; }

contents() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }

# As run, without a launcher where there is one rank.
run_on() { # FOLDER RANKS PROGRAM.. -- SETTINGS..
  if (($2 == 1)); then run_alone "$1" "${@:3}"; else run "$@"; fi
}

# A run that is refused leaves what is there as it was.
expect_refused() { # CODE WHAT SETTINGS..
  local code=$1 what=$2 before
  before=$(contents "$folder")
  run_alone "$folder" "$LOCKSTEP" -- "${@:3}"
  expect_code "$code" "$what"
  [[ $(contents "$folder") == "$before" ]] || fail "$what: files have changed" "$folder"
}

# 0: everything is there
run_alone "$folder" "$LOCKSTEP" -- steps=20
expect_code 0 "a run to its end"
expect_rows 20 "a run to its end"
[[ -s $folder/config.yaml && $(newest "$folder") == */checkpoint-20.h5 ]] || fail "a run to its end: files are missing"

# 1, 2, 73, 78: nothing is touched
before=$(contents "$folder")
run_alone "$WORK/other" "$LOCKSTEP" -- steps=20 seed=2
CODE=0
"$LOCKSTEP" diff "$folder" "$WORK/other" >"$WORK/diff.out" 2>&1 || CODE=$?
expect_code 1 diff
[[ $(contents "$folder") == "$before" ]] || fail "diff: files have changed"
expect_refused 2 "a bad value" lr=abc overwrite=true
expect_refused 73 "a run that is there"
expect_refused 78 "no data" overwrite=true "data=$WORK"
expect_refused 78 "no checkpoint" "resume=$folder/config.yaml"
rm -rf "$folder" "$WORK/other"
CODE=0
run_alone "$folder" "$LOCKSTEP" -- lr=abc
expect_code 2 "a bad value"
[[ ! -e $folder ]] || fail "a bad value: a folder was made"

# 71: rows of all steps before the one that is not finite
for ranks in 1 3; do
  run_on "$folder" "$ranks" "$LOCKSTEP" -- optimizer=sgd weight_decay=1e6 lr=1000
  expect_code 71 "divergence on $ranks ranks"
  step=$(step_said)
  ((step > 2)) || fail "divergence in step $step is too early for this test" "$folder"
  expect_rows $((step - 1)) "divergence on $ranks ranks"
  rm -rf "$folder"
done

# 71 where a checkpoint would hold what is not finite: those before it stay, and all that is in them is finite
for ranks in 1 3; do
  run_on "$folder" "$ranks" "$LOCKSTEP" -- optimizer=sgd weight_decay=1e6 lr=1000 checkpoint_interval=1 keep=1
  expect_code 71 "divergence, with checkpoints, on $ranks ranks"
  grep -q 'model/[0-9a-z._]* is not finite: no checkpoint is written' "$folder.err" || fail "divergence: no tensor is named" "$folder"
  bad=$(step_said)
  expect_rows "$bad" "divergence, with checkpoints, on $ranks ranks"
  [[ $(newest "$folder") == */checkpoint-$((bad - 1)).h5 ]] || fail "divergence: no checkpoint of step $((bad - 1))" "$folder"
  h5dump -g /model "$(newest "$folder")" >"$WORK/model.txt"
  if grep -qi '\binf\b\|\bnan\b' "$WORK/model.txt"; then fail "divergence: a checkpoint that is not finite"; fi
  rm -rf "$folder"
done

# 71 from a checkpoint that an earlier build has left so: the tensor, no accuracy, and no run that goes on from it
run_alone "$folder" env FAULTY=spill:0:3 "$LOCKSTEP_FAULTY" -- steps=3
expect_code 0 "a checkpoint as of an earlier build"
spilt=$folder/checkpoint-3.h5
for ranks in 1 3; do
  launcher=(mpirun -n "$ranks")
  if ((ranks == 1)); then launcher=(); fi
  for verb in eval attack; do
    CODE=0
    "${launcher[@]}" "$LOCKSTEP" "$verb" "$spilt" "data=$LOCKSTEP_MADE_DATA" --output "$WORK/look.h5" >"$folder.out" 2>"$folder.err" || CODE=$?
    expect_code 71 "$verb of a model that is not finite, on $ranks ranks"
    (($(grep -c 'error: .*checkpoint-3.h5: model/[0-9a-z._]* holds values that are not finite' "$folder.err") == 1)) ||
      fail "$verb of a model that is not finite: the tensor is not named" "$folder"
    [[ ! -s $folder.out && ! -e $WORK/look.h5 ]] || fail "$verb of a model that is not finite: it says or writes something" "$folder"
  done
done
before=$(contents "$folder")
run "$folder" 2 "$LOCKSTEP" -- steps=5 resume=auto
expect_code 71 "resume from a model that is not finite"
grep -q 'checkpoint-3.h5: model/[0-9a-z._]* holds values that are not finite: no run' "$folder.err" || fail "resume: not said" "$folder"
[[ $(contents "$folder") == "$before" ]] || fail "resume from a model that is not finite: files have changed" "$folder"
rm -rf "$folder"

# 71 where the last update has overflowed: the evaluation after it finds that, and the tensor is named
for ranks in 1 3; do
  run_on "$folder" "$ranks" "$LOCKSTEP" -- optimizer=sgd weight_decay=1e6 lr=1000 "steps=$((step - 1))"
  if ((CODE == 0)); then fail "divergence in the last step: exit 0" "$folder"; fi
  expect_code 71 "divergence in the last step"
  grep -q 'model/[0-9a-z.]* is not finite\|activations overflow' "$folder.err" || fail "divergence in the last step: not said" "$folder"
  expect_rows $((step - 1)) "divergence in the last step"
  if has_checkpoint "$folder"; then fail "divergence in the last step: a checkpoint of it" "$folder"; fi
  rm -rf "$folder"
done

# 70 in the middle: an allocation that fails, on rank 0, on another, and where there is one alone, in a checkpoint
for victim in 0 2; do
  LAUNCHER=() # mpirun gives ranks a second after SIGTERM
  run "$folder" 3 env "FAULTY=memory:$victim:5" "$LOCKSTEP_FAULTY" -- steps=1000 checkpoint_interval=3
  expect_code 70 "no memory on rank $victim"
  (($(grep -c 'error: .*out of memory: ' "$folder.err") == 1)) || fail "no memory on rank $victim: expected one message" "$folder"
  expect_rows 4 "no memory on rank $victim"
  [[ $(newest "$folder") == */checkpoint-3.h5 ]] || fail "no memory on rank $victim: the checkpoint before it is gone" "$folder"
  rm -rf "$folder"
done
run_alone "$folder" env FAULTY=memory:0:6 "$LOCKSTEP_FAULTY" -- steps=1000 checkpoint_interval=3
expect_code 70 "no memory for a checkpoint"
expect_rows 6 "no memory for a checkpoint"
[[ $(newest "$folder") == */checkpoint-3.h5 ]] || fail "no memory for a checkpoint: the one before it is gone" "$folder"
rm -rf "$folder"

# 74: older files stay, and the run goes on from them
run_alone "$WORK/reference" "$LOCKSTEP" -- steps=40
content "$WORK/reference" >"$WORK/reference.content"
run_alone "$folder" "$LOCKSTEP" -- steps=20
size=$(($(stat -c %s "$folder/checkpoint-20.h5") / 1024))
(ulimit -f "$size" && run_alone "$folder" "$LOCKSTEP" -- steps=40 resume=auto && exit "$CODE") || CODE=$?
expect_code 74 "a limit of file size"
grep -q "checkpoint-40.h5: cannot .* a file may have $((size * 1024)) bytes at most" "$folder.err" ||
  fail "a limit of file size: path and limit are not named" "$folder"
if has_temporary "$folder"; then fail "a limit of file size: a temporary file is left"; fi
h5dump -H "$(newest "$folder")" >/dev/null || fail "a limit of file size: the older checkpoint is damaged"
run_alone "$folder" "$LOCKSTEP" -- steps=40 resume=auto
expect_equal "$folder" "a limit of file size, and on without it"
rm -rf "$folder"

# 75: every signal that asks a run to stop; rows to the step of the checkpoint
for signal in USR1 TERM INT HUP XCPU; do
  start "$folder" 2 "$LOCKSTEP" -- epochs=100000
  find_ranks 2 || fail "no ranks" "$folder"
  until [[ -e $folder/config.yaml ]]; do sleep 0.01; done
  sleep 0.1
  kill -"$signal" "${RANK_PIDS[1]}"
  finish
  expect_code 75 "SIG$signal"
  step=$(step_said)
  expect_rows "$step" "SIG$signal"
  [[ $(newest "$folder") == */checkpoint-$step.h5 ]] || fail "SIG$signal: no checkpoint of step $step" "$folder"
  rm -rf "$folder"
done

# 76, told by rank 0, and by another while rank 0 waits for one that has gone on; and a rank that dies
LAUNCHER=() # mpirun gives ranks a second after SIGTERM
run "$folder" 3 env FAULTY=skip:1:5 "$LOCKSTEP_FAULTY" -- steps=1000 timeout=1
expect_code 76 "a stuck rank, told by rank 0"
expect_rows 4 "a stuck rank, told by rank 0"
rm -rf "$folder"
run "$folder" 3 env FAULTY=skip:0:5 "$LOCKSTEP_FAULTY" -- steps=1000 timeout=1
expect_code 76 "a stuck rank, told by another"
expect_rows 5 "a stuck rank, told by another"
rm -rf "$folder"
run "$folder" 3 env FAULTY=die:2:5 "$LOCKSTEP_FAULTY" -- steps=1000
((CODE != 0)) || fail "a rank that dies: exit 0" "$folder"
expect_rows 4 "a rank that dies"
rm -rf "$folder"

# 79
run "$folder" 3 env FAULTY=flip:1:5:value:77 "$LOCKSTEP_FAULTY" -- steps=1000
expect_code 79 "a flipped bit"
expect_rows 4 "a flipped bit"
if has_checkpoint "$folder"; then fail "a flipped bit: a checkpoint of it" "$folder"; fi
echo "each exit code leaves what is documented"
