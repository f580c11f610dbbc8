#!/usr/bin/env bash
# Mistakes on the command line and in the configuration, and the texts that the program prints about itself.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"

# A pipe to which nobody writes is given up after 10 s, beside all else; what comes of it is looked at in the end.
mkfifo silent.fifo
mpirun -n 3 "$BINARY" train silent.fifo >silent.out 2>silent.err </dev/null &
SILENT=$!

# --- mistakes, alone and on three ranks: one message each

for ranks in - 3; do
  expect_failure 2 "no verb given; expected train, eval, " $ranks
  expect_failure 2 "unknown verb fly; expected train, eval, " $ranks fly
  expect_failure 2 "--nope is no option of lockstep" $ranks train "$ROW6" --nope
  expect_failure 2 "train: found 0 arguments; expected lockstep train CONFIG [KEY=VALUE ...]" $ranks train
  expect_failure 2 "eval: found 0 arguments; expected lockstep eval CHECKPOINT [KEY=VALUE ...]" $ranks eval
  expect_failure 2 "none.yaml: cannot be opened: No such file" $ranks train none.yaml
  expect_failure 2 "epcohs=3: unknown key 'epcohs'; did you mean 'epochs'?" $ranks train "$ROW6" epcohs=3
  expect_failure 2 "the last layer gives 9; expected 10" $ranks train "${SMALL[@]}" network.10.dense.units=9
done
expect_failure 2 "-x is no option" - -x
expect_failure 2 "more than 256 words" - train $(seq 300)
expect_failure 2 "gradcheck: found 1 argument; expected lockstep gradcheck" - gradcheck now
expect_failure 2 "Is a directory" - train "$WORK"
expect_failure 2 "lr=abc: lr: not a number: found 'abc', expected a number from 0 to 1000" - train "$ROW6" lr=abc
expect_failure 2 "lr: out of range: found '1e30'" - train "$ROW6" lr=1e30
expect_failure 2 "command line: lr: expected KEY=VALUE" - train "$ROW6" lr
expect_failure 2 "epochs: out of range: found '0'" - train "$ROW6" epochs=0
expect_failure 2 "comm: unknown choice: found 'unknown', expected one of auto|self|mpi" - train "$ROW6" comm=unknown
expect_failure 2 "shards=3: expected a power of two" - train "${SMALL[@]}" shards=3
expect_failure 2 "3 ranks for 2 shards" 3 train "${SMALL[@]}" shards=2

# The last layer's place in the file; a key that is wrong there.
printf 'seed: 1\nnetwork:\n  - flatten\n  - dense: {units: 9}\n' >nine.yaml
expect_failure 2 "nine.yaml:4:5: layer 1: the last layer gives 9; expected 10, the classes of the data" - \
  train nine.yaml "data=$DATA" split=1700
printf 'seed: 1\nbatch: many\n' >many.yaml
expect_failure 2 "many.yaml:2:8: batch: not an integer: found 'many'" - train many.yaml
check "no run was begun" test ! -e runs

# --- settings that nothing would read, keys given twice, words of other frameworks

printf 'optimizer: sgd\nmomentum: 0.5\nnetwork: [flatten, {dense: {units: 10}}]\n' >unread.yaml
for ranks in - 3; do
  expect_failure 2 "unread.yaml:2:11: momentum: would not be read: that needs optimizer=momentum, and here optimizer is sgd (unread.yaml:1:12)" \
    $ranks train unread.yaml
  expect_failure 2 "rotation=10: rotation: would not be read: that needs augment above 0, and here augment is 0" $ranks \
    train "${SMALL[@]}" augment=0 rotation=10
done
expect_failure 2 "learning_rate=1: unknown key 'learning_rate'; did you mean 'lr'?" - train "$ROW6" learning_rate=1
for words in "train $ROW6 epochs=1 epochs=2" "bench step $ROW6 bench_steps=1 bench_steps=1" "attack none.h5 samples=1 samples=2"; do
  # shellcheck disable=SC2086
  "$BINARY" $words >out 2>err && CODE=0 || CODE=$?
  check "$words: code $CODE" test "$CODE" = 2
  check "$words: $(cat err)" grep -q "given twice" err
done

expect_failure 2 "examples=3: would not be read: that needs --output" - attack none.h5 examples=3

# A configuration from a pipe, on one rank and, read by one of them, on three.
sed 's/^optimizer: .*/optimizer: momentum/' unread.yaml >file.yaml
words=("data=$DATA" split=1700 epochs=1)
expect_success "" - train file.yaml "${words[@]}" output=from-file
REFERENCE=$(fingerprint)
check "a fingerprint" test -n "$REFERENCE"
expect_success "" - train <(cat file.yaml) "${words[@]}" output=from-pipe
check "the same from a pipe" test "$(fingerprint)" = "$REFERENCE"
expect_success "" 3 train <(cat file.yaml) "${words[@]}" output=from-pipe3
check "the same from a pipe on three ranks" test "$(fingerprint)" = "$REFERENCE"
mkfifo base.fifo
printf 'base: base.fifo\nlr: 0.001\n' >on-pipe.yaml
cat file.yaml >base.fifo &
expect_success "" 3 train on-pipe.yaml "${words[@]}" output=from-base
check "the same from a base that is a pipe" test "$(fingerprint)" = "$REFERENCE"
expect_failure 2 "output: not given, and /dev/fd/" - train <(cat file.yaml) "${words[@]}"

# --- one process that a launcher started as one of several

WRAP=(env OMPI_COMM_WORLD_SIZE=4)
expect_failure 2 "OMPI_COMM_WORLD_SIZE=4, but MPI sees one process alone" - train "${SMALL[@]}" output=launched
WRAP=(env SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 SLURM_STEP_ID=0)
expect_failure 2 "SLURM_STEP_NUM_TASKS=4, but MPI sees one process alone" - train "${SMALL[@]}" output=launched
check "no run was begun" test ! -e launched
# A batch script that starts it once, with all tasks still to be used, is no such case; nor are wanted independent runs.
WRAP=(env SLURM_NTASKS=4 SLURM_JOB_ID=7)
expect_success "" - train "${SMALL[@]}" --dry-run
WRAP=(env SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 SLURM_STEP_ID=0)
expect_success "" - train "${SMALL[@]}" comm=self --dry-run
WRAP=()

# --- texts

expect_success "" - --help
for word in train eval attack inspect diff export import bench gradcheck --dry-run --json --output --keys --verbose --version KEY=VALUE; do
  check "--help names $word" grep -q -e "$word" out
done
# Every key of the table, by way of the resolved configuration, which is made from the same rows.
expect_success "" - train "$ROW6" --dry-run
grep -oE '^[a-z_0-9]+:' out | tr -d : | grep -vx network >keys
check "a configuration has keys" test "$(wc -l <keys)" -gt 30
expect_success "" - --keys
while read -r key; do check "--keys lists $key" grep -qE "^  $key " out; done <keys
for layer in batchnorm conv2d dense dropout flatten relu tanh; do
  check "--keys lists $layer" grep -qx "Keys of the layer $layer:" out
done
for code in 0 1 2 70 71 73 74 75 76 78 79; do check "--keys lists code $code" grep -qE "^ +$code  " out; done
expect_success "" - --version
check "--version: git" grep -qE '^lockstep [0-9.]+ \(git ([0-9a-f]{7,}(-dirty)?|unknown)\)$' out
check "--version: MPI" grep -qE '^(Open MPI|MPICH|MPI) [0-9.]+' out
check "--version: HDF5" grep -qE '^HDF5 [0-9.]+' out
check "--version: instruction set" grep -qE '^instructions (portable|avx2|avx512|avx512_bf16|amx) ' out
check "--version: instruction set of bf16, and why" grep -qE '^instructions of bf16 (portable|avx2|avx512|avx512_bf16|amx) \(.+\)$' out

# --- the resolved configuration reads back to itself, and is printed once by three ranks

for config in "$TOP"/experiments/{table1/row6,table2/row3,cnn/network4}-*.yaml; do
  expect_success "" - train "$config" lr=0.125 schedule=multistep 'milestones=[3, 5]' network.2=tanh "output=a 'b' \"c\"" --dry-run
  mv out first.yaml
  check "it says what the command line said" grep -qx 'lr: 0.125' first.yaml
  expect_success "" - train first.yaml --dry-run
  check "$config: resolving reproduces itself" cmp first.yaml out
done
expect_success "" 3 train first.yaml --dry-run
check "three ranks print it once" cmp first.yaml out

# --- a plain run never starts MPI: this broken MPI would not start

WRAP=(env OMPI_MCA_pml=none OMPI_MCA_btl=none)
expect_success "" - train "${SMALL[@]}" steps=1 output=plain
run 1 train "${SMALL[@]}" steps=1 output=broken
check "the broken MPI is broken" test "$CODE" != 0
WRAP=()

# --- output that cannot be written

for words in --help --keys --version "train $ROW6 --dry-run"; do
  CODE=0
  # shellcheck disable=SC2086
  "$BINARY" $words >/dev/full 2>err || CODE=$?
  check "$words to a full disk: code $CODE" test $CODE = 74
  check "$words to a full disk: one message" test "$(cat err)" = "lockstep: error: standard output cannot be written"
  CODE=0
  # shellcheck disable=SC2086
  "$BINARY" $words >&- 2>err || CODE=$?
  check "$words to nobody: code $CODE" test $CODE = 74
done

CODE=0
wait "$SILENT" || CODE=$?
CASES=$((CASES + 1))
check "a pipe to which nobody writes: code $CODE" test "$CODE" = 2
check "a pipe to which nobody writes: one message" test \
  "$(grep '^lockstep: ' silent.err)" = "lockstep: [rank 0] error: silent.fifo: a pipe to which nobody has written for 10 s"
finish
