#!/usr/bin/env bash
# The rules of the run folder: one run at a time; what may change when a run is resumed and what not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

RUN=(steps=40 checkpoint_interval=4)

digest() { # FOLDER
  (cd "$1" && stat -c '%n %Y' -- * && sha256sum -- *)
}

expect_code() { # CODE PATTERN WHAT FOLDER
  ((CODE == $1)) || fail "$3: exit $CODE, expected $1" "$4"
  grep -Eq "$2" "$4.err" || fail "$3: expected \"$2\"" "$4"
}

make_reference "${RUN[@]}"

# Two runs in one folder. Rank 0 of the first is held back while it writes, so it is there for sure.
folder=$WORK/busy
: >"$WORK/hold"
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0
start "$folder" 2 env "LD_PRELOAD=$LOCKSTEP_FAILING_FILES" "FAILING_FILES_FOLDER=$folder/checkpoint" \
  "FAILING_FILES_HOLD=$WORK/hold" "$LOCKSTEP" -- "${RUN[@]}"
until has_temporary "$folder"; do
  kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
  sleep 0.01
done
first=$MPIRUN
for setting in resume=auto overwrite=true; do
  # the first one's words go to $folder.err; these elsewhere
  CODE=0
  latest_words "${SETTINGS[@]}" "${RUN[@]}" "output=$folder" "$setting"
  mpirun -n 2 "$LOCKSTEP" train "${WORDS[@]}" \
    >"$WORK/second.out" 2>"$WORK/second.err" </dev/null || CODE=$?
  expect_code 73 "another run is writing here" "a second run, $setting" "$WORK/second"
  kill -0 "$first" 2>/dev/null || fail "the first run was over too early" "$folder"
done
rm "$WORK/hold"
MPIRUN=$first
finish
expect_equal "$folder" "the first of two runs"

# The lock goes with its process, however that ends.
folder=$WORK/killed
run "$folder" 2 env FAULTY=die:0:10 "$LOCKSTEP_FAULTY" -- "${RUN[@]}"
((CODE == 137)) || fail "a killed run: exit $CODE" "$folder"
run "$folder" 3 "$LOCKSTEP" -- "${RUN[@]}"
expect_code 73 "already holds a run" "a new run in a used folder" "$folder"

# What changes the result is refused, with both values; the folder stays as it is.
digest "$folder" >"$WORK/before"
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto lr=0.25
expect_code 2 'lr: 0\.05.*lr: 0\.25' "another learning rate" "$folder"
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto seed=7
expect_code 2 'seed: 1".*seed: 7"' "another seed" "$folder"
sed 's/units: 16/units: 12/' "$CONFIG" >"$WORK/other.yaml"
SETTINGS[0]=$WORK/other.yaml
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto
expect_code 2 'units: 16.*units: 12' "another network" "$folder"
SETTINGS[0]=$CONFIG
cp -r "$LOCKSTEP_MADE_DATA" "$WORK/data"
chmod -R u+w "$WORK/data"
printf '\001' | dd of="$WORK/data/train-images-idx3-ubyte" bs=1 seek=5000 conv=notrunc status=none
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto "data=$WORK/data"
expect_code 78 "was trained on other data" "other data" "$folder"
digest "$folder" | cmp -s - "$WORK/before" || fail "a refused resume changed the folder" "$folder"

# What does not, is not.
cp -r "$folder" "$WORK/threads"
run_alone "$WORK/threads" "$LOCKSTEP" -- "${RUN[@]}" resume=auto threads=3 epochs=4 keep=1 check_interval=5
expect_equal "$WORK/threads" "other threads, ranks and epochs"

# From one folder into another, which must be free; the old one is not touched.
run "$WORK/branch" 2 "$LOCKSTEP" -- "${RUN[@]}" "resume=$folder/checkpoint-4.h5"
expect_equal "$WORK/branch" "resumed into a new folder"
run "$WORK/branch" 2 "$LOCKSTEP" -- "${RUN[@]}" "resume=$folder/checkpoint-4.h5"
expect_code 73 "already holds a run" "resumed into a used folder" "$WORK/branch"
run "$WORK/nothing" 2 "$LOCKSTEP" -- "${RUN[@]}" "resume=$folder/checkpoint-5.h5"
expect_code 78 "checkpoint-5.h5" "resumed from a file that is not there" "$WORK/nothing"
digest "$folder" | cmp -s - "$WORK/before" || fail "a resume elsewhere changed the folder" "$folder"

# An early death, and a folder without anything: from the beginning.
run "$WORK/early" 2 env FAULTY=die:1:2 "$LOCKSTEP_FAULTY" -- "${RUN[@]}" resume=auto
((CODE == 137)) || fail "an early death: exit $CODE" "$WORK/early"
if has_checkpoint "$WORK/early"; then fail "an early death: too late" "$WORK/early"; fi
run "$WORK/early" 2 "$LOCKSTEP" -- "${RUN[@]}" resume=auto
expect_equal "$WORK/early" "resumed without a checkpoint"

# A run that had ended: nothing to do, nothing changes; with more to do it goes on.
digest "$WORK/early" >"$WORK/before"
sleep 1.1 # times of files are compared by the second
run "$WORK/early" 3 "$LOCKSTEP" -- "${RUN[@]}" resume=auto
expect_equal "$WORK/early" "a finished run"
digest "$WORK/early" | cmp -s - "$WORK/before" ||
  fail "a finished run has changed: $(digest "$WORK/early" | diff "$WORK/before" - | head -n 4)" "$WORK/early"
make_reference steps=60 checkpoint_interval=4
run "$WORK/early" 3 "$LOCKSTEP" -- steps=60 checkpoint_interval=4 resume=auto
expect_equal "$WORK/early" "a finished run that goes on"
echo "locks, refusals and resumes: as expected"
