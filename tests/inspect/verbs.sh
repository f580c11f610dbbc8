#!/usr/bin/env bash
# lockstep diff and lockstep inspect on runs that the program itself has trained: what they find and how they exit.
#
#   verbs.sh BINARY WORK_FOLDER DATA_FOLDER PYTHON
#
# Without mpirun or h5py the parts that need them are left out, and said so.
set -euo pipefail

BINARY=$1 WORK=$2 DATA=$3 PYTHON=$4
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FAILURES=0

# shellcheck source-path=SCRIPTDIR source=../words.bash
source "$HERE/../words.bash"

fail() {
  echo "FAILED: $*"
  FAILURES=$((FAILURES + 1))
}

# Trains WORK/NAME: tiny.yaml with the overrides given.
train() { # NAME OVERRIDES..
  local name=$1
  shift
  latest_words data="$DATA" output="$name" "$@"
  "$BINARY" train tiny.yaml "${WORDS[@]}" >"$name.out" 2>"$name.err" ||
    { cat "$name.out" "$name.err"; exit 1; }
}

# Runs the program and checks its exit code; further arguments before -- must each be in what it says.
expect() { # CODE [TEXT..] -- ARGUMENTS..
  local code=$1 found=0
  local -a texts=()
  shift
  while [[ $1 != -- ]]; do
    texts+=("$1")
    shift
  done
  shift
  "$BINARY" "$@" >said 2>&1 || found=$?
  [[ $found == "$code" ]] || fail "lockstep $*: exit code $found, expected $code: $(tail -n 3 said)"
  for text in "${texts[@]}"; do
    grep -qF -- "$text" said || fail "lockstep $*: does not say '$text': $(cat said)"
  done
}

rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"
cat >tiny.yaml <<'YAML'
split: 640
epochs: 9
steps: 25
batch: 64
lr: 0.01
trail_interval: 1
test_interval: 1
comm: self
progress: none
network: [flatten, batchnorm, {dense: {units: 12}}, relu, {dropout: {rate: 0.2}}, {dense: {units: 10}}]
YAML

# Two epochs of 10 steps and half of a third one.
train one
train threads threads=2
train seed seed=2
train early schedule=multistep 'milestones=[10]'
train late schedule=multistep 'milestones=[15]'
train short steps=15
train coarse trail_interval=4
train blind trail_interval=0
train wide 'network=[flatten, batchnorm, {dense: {units: 13}}, relu, {dropout: {rate: 0.2}}, {dense: {units: 10}}]'

# --- diff of runs
expect 0 "equal: losses and accuracies of 25 steps and 2 epochs, 22 tensors at 25 steps of the trail, the test result" \
  "configuration: the same" "equal: 22 tensors at step 25" -- diff one threads
expect 0 "equal: " -- diff one/metrics.h5 threads
expect 1 "  seed: 1 | 2" "different: first at step 1, tensor model/1.weight" -- diff one seed
expect 1 "  milestones: [10] | [15]" "different: first at step 11, tensor model/1.weight (equal at step 10)" -- diff early late
expect 1 "equal as far as both go: losses and accuracies of 15 steps and 1 epochs, 22 tensors at 15 steps" \
  "different: B goes further, to 25 steps" -- diff short one
expect 0 "22 tensors at 6 steps of the trail" -- diff coarse one
expect 0 "trail: B has none (trail_interval=0): only losses and accuracies could be compared" \
  "equal: 22 tensors at step 25" -- diff one blind
expect 1 "  network.2.dense.units: 12 | 13" "different: first at step 1, tensor model/1.weight" -- diff one wide

# --- diff of checkpoints
expect 0 "equal: 22 tensors at step 25, fingerprint" -- diff one/checkpoint-25.h5 threads/checkpoint-25.h5
expect 1 "largest ulp" "tensors at step 25, the first is model/1.weight" -- diff one/checkpoint-25.h5 seed/checkpoint-25.h5
expect 1 "checkpoints of different steps, 25 | 15; names and shapes of the tensors are the same" \
  -- diff one/checkpoint-25.h5 short/checkpoint-15.h5
expect 1 "  model/2.weight: f32 [12, 784] | f32 [13, 784]" -- diff one/checkpoint-25.h5 wide/checkpoint-25.h5

# --- ranks
if command -v mpirun >/dev/null; then
  mpirun -n 3 "$BINARY" train tiny.yaml data="$DATA" output=ranks comm=mpi >ranks.out 2>ranks.err || { cat ranks.err; exit 1; }
  expect 0 "equal: " -- diff one ranks
else
  echo "left out: ranks, since there is no mpirun"
fi

# --- usage
expect 2 "expected lockstep diff A B" -- diff one
expect 2 "expected lockstep diff A B" -- diff one seed late
expect 2 "is a checkpoint and one a run" -- diff one one/checkpoint-25.h5
expect 2 "diff: takes no --json" -- diff --json one seed
expect 2 "expected lockstep inspect FILE" -- inspect
expect 2 "expected lockstep inspect FILE" -- inspect one seed

# --- what is not there or damaged
mkdir empty bad
cp one/metrics.h5 bad/
cp one/checkpoint-25.h5 bad/
chmod u+w bad/checkpoint-25.h5
printf x | dd of=bad/checkpoint-25.h5 bs=1 seek=9999 conv=notrunc status=none
head -c 3000 one/metrics.h5 >cut.h5
cp tiny.yaml tiny.txt
head -c 3000 one/checkpoint-25.h5 >cut-checkpoint.h5
for verb in "inspect" "inspect --json" "diff one" "diff one/checkpoint-25.h5"; do
  for file in none none/checkpoint-1.h5 empty cut.h5 cut-checkpoint.h5 bad bad/checkpoint-25.h5 tiny.txt /dev/null; do
    # shellcheck disable=SC2086 # the words of a verb
    expect 78 "lockstep: error: " "$file" -- $verb "$file"
  done
done
# shellcheck disable=SC2016
expect 78 "damaged, or changed by another program: found digest" -- inspect bad/checkpoint-25.h5
expect 0 "seal             verified" -- inspect bad/metrics.h5
# an older good checkpoint stands in for a newer damaged one, and that is said
cp short/checkpoint-15.h5 bad/
expect 0 "checkpoint-25.h5" "checkpoint bad/checkpoint-15.h5" -- inspect bad
# a run that has only begun
mkdir begun
cp short/metrics.h5 begun/
expect 0 "no checkpoint yet" -- inspect begun

# --- files that another program writes to
for file in one/checkpoint-25.h5 one/metrics.h5; do
  [[ $(stat -c %a "$file") == 444 ]] || fail "$file: permissions $(stat -c %a "$file"), expected 444"
done
expect 0 "its seal is right; nothing was changed" -- inspect --reseal one/checkpoint-25.h5
expect 2 "takes one file" -- inspect --reseal --json one/checkpoint-25.h5
expect 78 "not a regular file" -- inspect --reseal one
expect 78 "found no seal of lockstep" -- inspect --reseal tiny.txt
if "$PYTHON" -c 'import h5py' 2>/dev/null; then
  change() { # FILE STATEMENT: h5py opens the file f for writing
    "$PYTHON" -c "import h5py
with h5py.File('$1', 'r+') as f: $2"
  }
  for file in checkpoint-25.h5 metrics.h5; do
    cp -f one/$file opened.h5
    chmod u+w opened.h5
    change opened.h5 'list(f)'
    cmp -s opened.h5 one/$file || fail "h5py has changed $file, to which it wrote nothing"
    change opened.h5 'f.attrs["note"] = "mine"'
    expect 78 "opened.h5: another program opened it for writing" "inspect --reseal" -- inspect opened.h5
    expect 0 "sealed again" -- inspect --reseal opened.h5
    expect 0 "seal             verified" -- inspect opened.h5
    [[ $(stat -c %a opened.h5) == 444 ]] || fail "a file sealed again: permissions $(stat -c %a opened.h5)"
  done
  # what the fingerprint, or HDF5's own checksums, find is not sealed
  cp -f one/checkpoint-25.h5 opened.h5
  chmod u+w opened.h5
  change opened.h5 'f["model/2.weight"][0, 0] = 3'
  cp -f opened.h5 before.h5
  expect 78 "opened.h5: " -- inspect opened.h5
  expect 78 "opened.h5: not sealed again: fingerprint of the tensors" -- inspect --reseal opened.h5
  cmp -s opened.h5 before.h5 || fail "a refused reseal has changed the file"
  cp -f bad/checkpoint-25.h5 opened.h5
  expect 78 "opened.h5: not sealed again: HDF5: " -- inspect --reseal opened.h5
  [[ -z $(find . -name '*.tmp-*') ]] || fail "--reseal leaves $(find . -name '*.tmp-*')"
else
  echo "left out: files that another program writes to, since there is no h5py"
fi

# --- output that cannot be written
if [[ -w /dev/full ]]; then
  for verb in "inspect one" "inspect --json one" "diff one seed"; do
    code=0
    # shellcheck disable=SC2086
    "$BINARY" $verb >/dev/full 2>said || code=$?
    [[ $code == 74 ]] || fail "$verb > /dev/full: exit code $code, expected 74"
  done
fi

# --- MPI is not started: with components that do not exist it could not be
export OMPI_MCA_pml=none OMPI_MCA_btl=none
if "$BINARY" train tiny.yaml data="$DATA" output=broken comm=mpi steps=1 >said 2>&1; then
  echo "left out: this MPI starts with components that do not exist"
fi
for verb in "inspect one" "diff one threads"; do
  # shellcheck disable=SC2086
  "$BINARY" $verb >said 2>&1 || fail "$verb needs MPI: $(tail -n 3 said)"
done
unset OMPI_MCA_pml OMPI_MCA_btl

# --- inspect
expect 0 "fingerprint      " "which matches the tensors" "epochs           2" "tests            2" "no" -- inspect one
for subject in one one/metrics.h5 one/checkpoint-25.h5 begun; do
  expect 0 -- inspect --json "$subject"
  "$PYTHON" -E -s "$HERE/check_json.py" said "$subject" || fail "inspect --json $subject"
done

# --- inspect of what eval and attack wrote: what they said themselves
for verb in eval attack; do
  "$BINARY" $verb one/checkpoint-25.h5 data="$DATA" comm=self --json --output "$verb.h5" >"$verb.json" 2>said ||
    fail "$verb: $(cat said)"
  expect 0 "seal             verified" "checkpoint       step 25, fingerprint " -- inspect "$verb.h5"
  expect 0 -- inspect --json "$verb.h5"
  "$PYTHON" -E -s "$HERE/check_result.py" said "$verb.json" || fail "inspect --json $verb.h5"
  expect 2 "diff: $verb.h5 is of eval or attack" -- diff one "$verb.h5"
  { head -c 5000 "$verb.h5"; printf x; tail -c +5002 "$verb.h5"; } >bad.h5
  expect 78 "bad.h5: damaged, or changed by another program: found digest" -- inspect bad.h5
done

((FAILURES == 0)) && echo "all as expected"
