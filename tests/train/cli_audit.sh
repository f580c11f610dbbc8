#!/usr/bin/env bash
# audit: segments of a run trained again come out equal on any number of ranks, together and apart; a step, a file, a
# configuration, data and a bit that were altered are named. A result file is trained from its seed.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
PYTHON=$4 FAULTY_BINARY=$5 MAKE_IDX=$6
"$PYTHON" -E -s -c "import h5py" 2>/dev/null || { echo "skipped: $PYTHON has no h5py"; exit 77; }

# Checkpoints amid epochs, at their ends and in both; statistics that are collected before evaluations.
RUN=("${ROW6/published/stated}" "data=$DATA" split=1700 batch=64 epochs=3 checkpoint_interval=15 keep=100 trail_interval=10
  test_interval=2 progress=none)
expect_success "" - train "${RUN[@]}" output=run
FINGERPRINT=$(fingerprint)
SEGMENTS=$(find run -name 'checkpoint-*.h5' | wc -l)
BEFORE=$(snapshot run)

equal_segments() {
  grep -cE '^steps [0-9]+-[0-9]+: equal \([0-9.]+ s\)$' out
}
for way in "-" "- threads=2" "2" "3 window=false" "2 --apart" "3 --apart"; do
  read -r ranks word <<<"$way"
  expect_success "" "$ranks" audit run "data=$DATA" ${word:+"$word"}
  check "$way: all segments are equal" test "$(equal_segments)" = "$SEGMENTS"
  check "$way: so it says" test "$(tail -n 1 out)" = "equal: $SEGMENTS of $SEGMENTS segments were replayed"
done
expect_success "" - audit run "data=$DATA" --segments 2
check "two of them" test "$(equal_segments)" = 2
check "an audit leaves the run alone" test "$(snapshot run)" = "$BEFORE"

# --- a run that was stopped amid an epoch and goes on

run - train "${RUN[@]}" steps=40 output=parts
run 2 train "${RUN[@]}" output=parts resume=auto
check "the same run" test "$(fingerprint)" = "$FINGERPRINT"
expect_success "" - audit parts "data=$DATA"

# One that lost its last checkpoint has rows behind the one before.
cp -r run cut
rm cut/checkpoint-81.h5
expect_success "" - audit cut "data=$DATA"
check "the rows at the end are replayed" grep -q '^steps 75-81: equal' out

# One that began with another model has its state of step 0 in a file.
"$PYTHON" -E -s - run/checkpoint-15.h5 state.h5 <<'END'
import h5py, sys
with h5py.File(sys.argv[1]) as checkpoint, h5py.File(sys.argv[2], "w") as state:
    for name in checkpoint["model"]:
        state[name] = checkpoint["model"][name][()]
END
mkdir imported
expect_success "" - import "${RUN[0]}" state.h5 imported "data=$DATA" split=1700 batch=64
expect_success "" - train "${RUN[@]/epochs=3/epochs=1}" output=imported resume=auto
expect_success "" - audit imported "data=$DATA"
check "from what was imported on: $(cat out)" grep -q '^steps 0-15: equal' out

# --- what is altered is named, with exit code 1

expect_difference() { # TEXT ARGUMENTS..
  local text=$1
  shift
  run - audit "$@"
  if [[ $CODE != 1 ]]; then
    failed "audit $*: exit code $CODE, expected 1"
  elif ! grep -qE "$text" out; then
    failed "audit $*: expected '$text'"
  fi
}
alter() { # FILE STATEMENT about file
  chmod u+w "$1"
  "$PYTHON" -E -s -c "import h5py, sys
with h5py.File(sys.argv[1], 'r+') as file: exec(sys.argv[2])" "$1" "$2"
}
copy() {
  rm -rf altered
  cp -r run altered
}
copy
alter altered/metrics.h5 "file['step/loss'][49] *= 1 + 1e-15"
run - inspect --reseal altered/metrics.h5
expect_difference '^steps 45-54: different: step 50: loss: recorded [0-9.e-]+, replayed [0-9.e-]+$' altered "data=$DATA"
check "the four segments before are equal, later checkpoints hold another row" test "$(equal_segments)" = 4
copy
alter altered/metrics.h5 "file['epoch/validation_accuracy'][1] += 0.01"
run - inspect --reseal altered/metrics.h5
expect_difference 'different: epoch 2: validation accuracy: recorded' altered "data=$DATA"
copy
alter altered/metrics.h5 "file['trail/tensors'][2, 0] = 5; file['trail/fingerprint'][2] = 7"
run - inspect --reseal altered/metrics.h5
expect_difference 'different: step 30: trail: model/' altered "data=$DATA"
copy
alter altered/metrics.h5 "file['test'].attrs['accuracy'] = 0.99"
run - inspect --reseal altered/metrics.h5
expect_difference 'different: the end after step 81: test accuracy: recorded 0.98' altered "data=$DATA"
copy
alter altered/metrics.h5 "file['step/loss'][0] = 1"
expect_difference '^different: altered/metrics.h5: damaged, or changed by another program' altered "data=$DATA"
check "checkpoints are compared all the same" test "$(equal_segments)" = "$SEGMENTS"
copy
alter altered/checkpoint-30.h5 "file['model/2.weight'][3, 4] += 1"
expect_difference '^different: altered/checkpoint-30.h5: damaged, or changed' altered "data=$DATA"
check "one segment less" grep -q '^steps 27-45: equal' out
copy
alter altered/checkpoint-30.h5 "file['history/epoch/train_loss'][0] /= 2"
run - inspect --reseal altered/checkpoint-30.h5
expect_difference '^steps 27-30: different: checkpoint-30.h5: row 1 of its history/epoch/train_loss is not that of' altered "data=$DATA"
copy
sed -i 's/^lr: .*/lr: 0.04/' altered/config.yaml
expect_difference '^different: altered/config.yaml .*"lr: 0.04", here "lr: 0.05"$' altered "data=$DATA"
"$MAKE_IDX" other 1999 500
expect_difference '^different: other \(unknown\) has digest [0-9a-f]{16}, the run was trained on [0-9a-f]{16}$' run data=other

# A bit that flips and that nobody looks for: the run's files agree with one another, and audit finds the segment.
BINARY=$FAULTY_BINARY
export FAULTY=spoil:0:20:value:777
run - train "${RUN[@]}" check_interval=0 output=flipped
unset FAULTY
BINARY=$1
check "the run with the flipped bit: $CODE" test "$CODE" = 0
check "has another fingerprint" test "$(fingerprint)" != "$FINGERPRINT"
expect_difference '^steps 15-27: different: step [0-9]+: ' flipped "data=$DATA"
check "the others are what follows from it" test "$(equal_segments)" = $((SEGMENTS - 1))

# --- a result file

write_result() { # FILE
  "$PYTHON" -E -s - "$1" run "$FINGERPRINT" <<'END'
import h5py, json, sys
with h5py.File(f"{sys.argv[2]}/metrics.h5") as file:
    text = lambda name: file[name].asstr()[()]
    columns = {name: [float(x) for x in file[f"epoch/{name}"]] for name in
               ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")}
    result = {"bits": int(text("provenance/bits")), "config": text("config/yaml") + "epochs: 3\n",
              "fingerprint": sys.argv[3], "data_digest": text("provenance/data_digest"), "history": columns,
              "test": {"loss_at_end": [file["test"].attrs["loss"]], "accuracy_at_end": [file["test"].attrs["accuracy"]]}}
json.dump(result, open(sys.argv[1], "w"))
END
}
write_result result.json
for ranks in - 2; do
  expect_success "" "$ranks" audit result.json "data=$DATA"
  check "equal on $ranks" test "$(cat out)" = "result.json: steps 0-81: equal, fingerprint $FINGERPRINT"
done
sed "s/$FINGERPRINT/0123456789abcdef/" result.json >altered.json
expect_difference "different: the fingerprint: recorded 0123456789abcdef, replayed $FINGERPRINT" altered.json "data=$DATA"
sed 's/lr: 0.05/lr: 0.06/' result.json >altered.json
expect_difference "different: epoch 1: training loss: recorded" altered.json "data=$DATA"
expect_difference '^different: other .* has digest' result.json data=other

# --- what is refused

sed 's/"bits": 1,/"bits": 0,/' result.json >altered.json
expect_failure 78 "altered.json: was made by a build of bits 0" - audit altered.json "data=$DATA"
echo '{"bits": 1}' >altered.json
expect_failure 78 "altered.json: config: found none" - audit altered.json "data=$DATA"
echo 'no {json' >altered.json
expect_failure 78 "altered.json" - audit altered.json "data=$DATA"
expect_failure 78 "nowhere: cannot be read" - audit nowhere "data=$DATA"
mkdir -p empty
expect_failure 78 "empty: holds no run that can be read" - audit empty "data=$DATA"
expect_failure 2 "expected a number above 0" - audit run "data=$DATA" --segments none
expect_failure 2 "--segments and --apart are for a run folder" - audit result.json "data=$DATA" --apart
expect_failure 2 "lr is the checkpoint's" - audit run "data=$DATA" lr=0.1
expect_failure 2 "eval_batch=7: the last bits of evaluations depend on it" - audit run "data=$DATA" eval_batch=7
finish
