#!/usr/bin/env bash
# What a run says and leaves: output, evaluation, ends in mid-epoch, odd sizes, threads.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
MAKE_IDX=$4

values() { # FILE DATA_SET: its numbers, one a line
  h5dump -y -w 1 -m %.9g -d "$2" "$1" | sed -nE 's/^ +([-0-9.einfa]+),?$/\1/p'
}

# --- what is printed

expect_success "" - train "${SMALL[@]}" epochs=2 output=two
REFERENCE=$(fingerprint)
check "the last line is the fingerprint" test -n "$REFERENCE"
check "the line before it is the run" test "$(tail -n 2 out | head -n 1)" = "run two"
check "a line for each epoch" test "$(grep -cE '^epoch [12]/2 \| train loss [0-9.]+ acc [0-9.]+ \| val loss' out)" = 2
check "no terminal, no bar" test "$(tr -d '\n[:print:]' <out | wc -c)" = 0
VALIDATION=$(sed -nE 's|^epoch 2/2 .* val loss ([0-9.]+) acc ([0-9.]+) .*|\1 \2|p' out)
TEST=$(sed -nE 's/^test loss ([0-9.]+) acc ([0-9.]+)$/\1 \2/p' out)
check "the configuration is recorded" grep -qx 'epochs: 2' two/config.yaml
expect_success "" 3 train "${SMALL[@]}" epochs=2 output=quiet progress=none
check "progress=none: the run and its fingerprint" test "$(cat out)" = $'run quiet\nfingerprint '"$REFERENCE"
expect_success "" - train two/config.yaml output=again progress=none
check "the recorded configuration trains to the same" test "$(fingerprint)" = "$REFERENCE"

# --- eval of the last checkpoint says what the last epoch said

for ranks in - 1 3; do
  expect_success "" $ranks eval two/checkpoint-14.h5 "data=$DATA" eval_batch=77
  SCORES=$(head -n 2 out | awk '{printf "%s %.4f %.4f\n", $1, $5, $7}')
  check "eval on $ranks: '$SCORES'" test "$SCORES" = "validation $VALIDATION"$'\n'"test $TEST"
done
for ranks in - 3; do
  expect_failure 78 "none.h5: cannot open: No such file" $ranks eval none.h5
  echo 'not HDF5 at all' >foreign.h5
  expect_failure 78 "foreign.h5: found 16 bytes" $ranks eval foreign.h5
  head -c 60000 two/checkpoint-14.h5 >cut.h5
  expect_failure 78 "cut.h5" $ranks eval cut.h5
done
{ head -c 50000 two/checkpoint-14.h5; printf 'xyz'; tail -c +50004 two/checkpoint-14.h5; } >damaged.h5
expect_failure 78 "damaged.h5: damaged, or changed by another program: found digest" - eval damaged.h5
expect_failure 78 'two/metrics.h5: found a lockstep file of kind "metrics"' - eval two/metrics.h5
expect_failure 78 "two: not a regular file" - eval two
expect_failure 78 "/nonexistent: no data set is found there" 3 eval two/checkpoint-14.h5 data=/nonexistent
for wrong in lr=5 seed=2 split=1000 network.2.dense.units=5 'defaults={dropout: {rate: 0.5}}'; do
  expect_failure 2 "$wrong: ${wrong%%[.=]*} is the checkpoint's" - eval two/checkpoint-14.h5 "data=$DATA" "$wrong"
done
expect_failure 2 "unknown key 'thread'; did you mean 'threads'?" - eval two/checkpoint-14.h5 thread=2
CODE=0
"$BINARY" eval two/checkpoint-14.h5 "data=$DATA" >/dev/full 2>err || CODE=$?
check "eval to a full disk: code $CODE" test $CODE = 74

# --- stopped in mid-epoch by steps=N: the record and the checkpoint are of that step

expect_success "" 3 train "${SMALL[@]}" steps=10 epochs=2 trail_interval=1 output=ten
check "the checkpoint of step 10" test -f ten/checkpoint-10.h5
check "ten steps" test "$(values ten/metrics.h5 /step/step | tail -n 1)" = 10
check "ten losses" test "$(values ten/metrics.h5 /step/loss | grep -c .)" = 10
check "one epoch" test "$(values ten/metrics.h5 /epoch/train_loss | grep -c .)" = 1
check "the trail ends in the fingerprint" test \
  "$(printf '%016x' "$(h5dump -y -w 1 -d /trail/fingerprint ten/metrics.h5 | grep -oE '^ +[0-9]+' | tail -n 1)")" = "$(fingerprint)"
expect_success "" 3 eval ten/checkpoint-10.h5 "data=$DATA"
check "it can be evaluated" grep -q '^test ' out
# Ten steps of a run that goes on are the same ten steps.
expect_success "" - train "${SMALL[@]}" epochs=2 trail_interval=1 output=fourteen progress=none
check "14 steps with a trail are 14 steps without" test "$(fingerprint)" = "$REFERENCE"
h5dump -y -w 1 -d /trail/fingerprint ten/metrics.h5 | grep -E '^ +[0-9]+' | tr -d ' ,' >trail-10
h5dump -y -w 1 -d /trail/fingerprint fourteen/metrics.h5 | grep -E '^ +[0-9]+' | tr -d ' ,' >trail-14
check "trails have 10 and 14 rows" test "$(cat trail-10 trail-14 | wc -l)" = 24
check "the first ten are equal" cmp trail-10 <(head -n 10 trail-14)
expect_success "" - train "${SMALL[@]}" steps=3 output=three
check "no epoch came to its end" test "$(grep -c '^epoch' out)" = 0
check "an empty table of epochs" h5dump -d /epoch/train_loss three/metrics.h5

# --- tested every two epochs, of which the one at the end counts as one; stopped in between and at a test, on other ranks

TESTED=("${SMALL[@]}" split=2000 test_interval=2)
expect_success "" - train "${TESTED[@]}" epochs=5 output=tested
check "the lines of epochs 2 and 4 say the test" test \
  "$(sed -nE 's#^epoch ([0-9])/5 .* \| test loss [0-9.]+ acc [0-9.]+ \| lr .*#\1#p' out | tr -d '\n')" = 24
check "two rows" test "$(h5dump -y -w 1 -d /tests/epoch tested/metrics.h5 | grep -oE '^ +[24],?$' | tr -d ' ,\n')" = 24
for steps in 16 20; do # the end of epoch 2, the middle of epoch 3
  expect_success "" 3 train "${TESTED[@]}" epochs=9 "steps=$steps" "output=until$steps"
  FIRST=$(sed -nE 's/^test loss ([0-9.]+) acc ([0-9.]+)$/\1 \2/p' out)
  expect_success "" 2 train "${TESTED[@]}" epochs=5 resume=auto "output=until$steps"
  check "resumed after step $steps: the metrics of a run that was not" \
    h5diff --exclude-path /provenance tested/metrics.h5 "until$steps/metrics.h5"
  [[ $steps == 16 ]] || continue
  ROW="$(values tested/metrics.h5 /tests/loss | head -n 1) $(values tested/metrics.h5 /tests/accuracy | head -n 1)"
  check "the row of epoch 2 is what a run says that ends there: $ROW" \
    test "$(awk '{printf "%.4f %.4f", $1, $2}' <<<"$ROW")" = "$FIRST"
done
expect_success "" - train "${TESTED[@]}" epochs=4 output=tested4 progress=none
check "the test at the end is the last row" test "$(values tested4/metrics.h5 /tests/loss | tail -n 1)" = \
  "$(h5dump -m %.9g -a /test/loss tested4/metrics.h5 | sed -nE 's/^ +\(0\): ([0-9.e-]+)$/\1/p')"

# --- no validation set; a batch larger than the data; a set of another shape

expect_success "" 3 train "${SMALL[@]}" split=2000 output=all
check "nothing is said of validation" test "$(grep -c 'val' <(tail -n +2 out))" = 0
check "its column is nan" test "$(values all/metrics.h5 /epoch/validation_loss)" = nan
check "its test set was used" grep -qE '^test loss [0-9]' out
expect_success "" - eval all/checkpoint-8.h5 "data=$DATA"
check "eval has only the test set" test "$(awk '$3 == "samples" {print $1}' out)" = test
expect_success "" - train "${SMALL[@]}" batch=5000 output=wide progress=none
WIDE=$(fingerprint)
expect_success "" 3 train "${SMALL[@]}" batch=5000 output=wide3 progress=none
check "a batch larger than the data, on 1 and 3 ranks" test -n "$WIDE" -a "$(fingerprint)" = "$WIDE"
check "is one step" test -f wide/checkpoint-1.h5
"$MAKE_IDX" narrow 300 60 9 13 3 5
NARROW=("$ROW6" data=narrow split=250 batch=32 epochs=6 network.10.dense.units=3)
expect_success "" - train "${NARROW[@]}" output=narrow-run
ACCURACY=$(sed -nE 's/^test .* acc ([0-9.]+)$/\1/p' out)
check "9 x 13 pixels and 3 classes are learnt: $ACCURACY" test "${ACCURACY/./}" -ge 9000
NARROW_FINGERPRINT=$(fingerprint)
expect_success "" 3 train "${NARROW[@]}" output=narrow-run3 threads=2 shards=16
check "the same on 3 ranks of 2 threads" test "$(fingerprint)" = "$NARROW_FINGERPRINT"
# --- what is recorded of an epoch is what was used: the last step's learning rate, and the time of the steps alone

expect_success "" - train "${SMALL[@]}" epochs=2 decay_power=0.5 lr=0.125 output=recorded progress=line
value() { # DATA_SET ROW
  h5dump -m %.17g -y -w 1 -d "$1" recorded/metrics.h5 | sed -nE 's/^ +([0-9.e+-]+),?$/\1/p' | sed -n "$2p"
}
check "14 steps" test "$(value /step/step 14)" = 14
for row in 1 2; do
  check "epoch $row: its rate is lr / sqrt(steps)" awk -v a="$(value /epoch/learning_rate $row)" -v b="$(value /step/learning_rate $((7 * row)))" \
    -v n=$((7 * row)) 'BEGIN {e = a - 0.125 / sqrt(n); exit !(a == b && e * e < 1e-30)}'
  check "epoch $row: images a second are of the steps, not of the evaluation" awk -v rate="$(value /provenance/images_per_second $row)" \
    -v seconds="$(value /provenance/seconds $row)" 'BEGIN {exit !(rate > 0 && 1700 / rate < seconds)}'
done
check "the rate is printed" grep -q ' | lr 3.34e-02 | ' out

finish
