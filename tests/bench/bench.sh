#!/usr/bin/env bash
# lockstep bench: mistakes, and what it measures on one and two ranks and threads.
#
#   bench.sh BINARY WORK_FOLDER DATA_FOLDER PYTHON
# shellcheck source-path=SCRIPTDIR/../train source=cli.bash
source "$(dirname "$0")/../train/cli.bash"
PYTHON=$4
CHECK=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/check_bench.py")
TABLE2=$TOP/experiments/table2/row1-stated.yaml

# --- mistakes

for ranks in - 2; do
  expect_failure 2 "bench: found 0 arguments; expected lockstep bench step|layers|comm|scaling CONFIG" $ranks bench
  expect_failure 2 "bench: unknown kind stpe; expected lockstep bench step|layers|comm|scaling CONFIG" $ranks bench stpe "$ROW6"
  expect_failure 2 "bench: found 1 argument; expected lockstep bench step|layers|comm|scaling CONFIG" $ranks bench step
  expect_failure 2 "command line: bench_steps: out of range: found '0'" $ranks bench step "$ROW6" bench_steps=0
done
expect_failure 2 "bench_copy: out of range: found '-1'" - bench step "$ROW6" bench_copy=-1
expect_failure 2 "bench_data: unknown choice: found 'some', expected one of auto|real|made" - bench step "$ROW6" bench_data=some
expect_failure 2 "unknown key 'bench_stesp'" - bench step "$ROW6" bench_stesp=3
expect_failure 2 "none.yaml: cannot be opened: No such file" - bench step none.yaml
expect_failure 2 "bench: takes no --output" - bench step "$ROW6" --output file
for word in epochs=3 steps=3 output=elsewhere overwrite=true test_interval=1 checkpoint_interval=1 keep=1 resume=auto \
  trail_interval=1 progress=none; do
  expect_failure 2 "command line: $word: ${word%=*} is read by train alone; bench takes" - bench step "$ROW6" bench_data=made $word
done
expect_failure 2 "output is read by train alone" 2 bench comm "$ROW6" output=elsewhere
check "nothing was made elsewhere" test ! -e elsewhere
expect_failure 2 "3 ranks for 2 shards" 3 bench step "$ROW6" bench_data=made split=512 shards=2
expect_failure 2 "no timed step had a whole batch" - bench step "$ROW6" bench_data=made split=300 bench_warmup=1 bench_steps=1 bench_copy=8
expect_failure 78 "nowhere" - bench step "$ROW6" bench_data=real data=nowhere
expect_failure 74 "none/trace.json" - bench step "$ROW6" bench_data=made split=512 bench_steps=1 bench_copy=8 --trace none/trace.json
echo "dear diary" >diary
for verb in "bench step $ROW6 bench_data=made split=512 bench_steps=1 bench_copy=8" "train $ROW6 output=run"; do
  # shellcheck disable=SC2086 # words
  expect_failure 73 "diary: is there already" 2 $verb --trace diary
  # shellcheck disable=SC2086
  expect_failure 2 "is what is read" - $verb --trace "$ROW6" --force
  # shellcheck disable=SC2086
  expect_failure 2 "--force is for the file of --trace" - $verb --force
done
check "the diary is as it was" test "$(cat diary)" = "dear diary"
check "and no run was begun" test ! -e run

# --- one object on standard output, the same losses for every number of ranks and threads

# Arrays as large as the last cache wants them are copied in one run alone: the sizes of the others are no matter.
MADE=(bench_data=made split=900 bench_steps=8 bench_warmup=3 bench_copy=8)
for case in "- 1" "2 1" "- 2" "3 2"; do
  read -r ranks threads <<<"$case"
  expect_success "" "$ranks" bench step "$ROW6" "${MADE[@]}" threads="$threads" augment=0.5 --json --trace trace.json --force
  mv out "step-$ranks-$threads.json"
  touch out
  check "the object on $ranks ranks of $threads threads" "$PYTHON" -E -s -B "$CHECK" step "step-$ranks-$threads.json" \
    "${ranks/-/1}" "$threads" 6 3 "step---1.json"
  check "the timeline on $ranks ranks of $threads threads" "$PYTHON" -E -s -B "$CHECK" trace trace.json "${ranks/-/1}" "$threads"
done
expect_success "" - bench step "$TABLE2" "${MADE[@]}" split=16 batch=16 bench_steps=1 bench_warmup=1 precision=fp64 --json
check "the object of the residual network" "$PYTHON" -E -s -B "$CHECK" step out 1 1 1 1
check "there is no run folder" test ! -e runs

# --- every piece by itself

expect_success "" 2 bench layers "$ROW6" "${MADE[@]}" bench_steps=3 --json
check "the object of layers" "$PYTHON" -E -s -B "$CHECK" layers out
expect_success "" - bench layers "$TABLE2" "${MADE[@]}" bench_steps=1 batch=16 threads=2
check "the table of layers" grep -Eq "layer1.0.conv1 +conv2d +weight gradient" out
expect_failure 2 "bench layers: takes no --trace" - bench layers "$ROW6" --trace trace.json

# --- sums over ranks, which are checked while they are timed

expect_failure 2 "bench comm: one rank has nothing to add up" - bench comm "$ROW6"
expect_failure 2 "bench_sizes: out of range: found '[4]'" - bench comm "$ROW6" "bench_sizes=[4]"
for case in "2 1" "3 2"; do
  read -r ranks threads <<<"$case"
  expect_success "" "$ranks" bench comm "$ROW6" threads="$threads" bench_steps=3 "bench_sizes=[64, 4096, 70000]" --json
  check "the object of comm on $ranks ranks" "$PYTHON" -E -s -B "$CHECK" comm out "$ranks" 64 4096 70000
done

# --- the model of other numbers of ranks

expect_failure 2 "bench scaling: one rank has nobody to talk to" - bench scaling "$ROW6" "${MADE[@]}"
expect_success "" 2 bench scaling "$ROW6" "${MADE[@]}" --json
check "the object of scaling" "$PYTHON" -E -s -B "$CHECK" scaling out 2
expect_success "" 2 bench scaling "$ROW6" "${MADE[@]}"
check "the table of scaling" grep -q "extrapolated" out

expect_python() { # SCRIPT ARGUMENTS..
  CASES=$((CASES + 1))
  timeout 300 "$PYTHON" -E -s -B "$@" >out 2>err </dev/null || failed "$*"
}
latest_words "${MADE[@]}" bench_steps=3 split=2000 "bench_sizes=[4096, 65536]"
expect_python "$TOP/experiments/bench/scaling.py" "$BINARY" "$ROW6" --ranks 2 --rounds 1 --json runs.json "${WORDS[@]}"
check "its prediction" grep -Eq "^strong +2 +256 " out
check "its extrapolation" grep -q "^EXTRAPOLATED, not measured, beyond 2 ranks" out

# --- the table, on data of files: the loss is that of training

expect_success "" - bench step "${SMALL[@]:0:3}" bench_steps=4 bench_warmup=1
for text in "images/s" "multiply-add loop" "communication" "dense" "MiB of a rank"; do
  check "the table has '$text'" grep -q "$text" out
done
expect_success "" - bench step "${SMALL[@]:0:3}" bench_steps=4 bench_warmup=1 bench_copy=8 --json
mv out made.json
touch out
expect_success "" - train "${SMALL[@]}" steps=5 output=run progress=none
mv out train.txt
expect_success "" 2 train "${SMALL[@]}" steps=5 output=traced progress=none --trace trained.json
check "the timeline of a training run" "$PYTHON" -E -s -B "$CHECK" trace trained.json 2 1
check "a run that is watched has the same bits" test "$(fingerprint)" = "$(tail -n 1 train.txt | cut -d " " -f 2)"
expect_success "" - inspect run --json
check "the losses are those of training" "$PYTHON" -E -s -B "$CHECK" losses made.json out

# --- the operations are those that inspect counts

expect_success "" - inspect "$TABLE2" split=64
mv out network.txt
touch out
expect_success "" - bench step "$TABLE2" "${MADE[@]}" split=16 batch=16 bench_steps=1 bench_warmup=0 --json
check "operations" "$PYTHON" -E -s -B "$CHECK" operations out network.txt

finish
