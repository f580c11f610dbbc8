#!/usr/bin/env bash
# Where a run puts its files: nothing that was there is lost, and what cannot be written is said.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"

expect_success "" - train "${SMALL[@]}" steps=3 output=deep/er/run
check "the run's files" test -f deep/er/run/config.yaml -a -f deep/er/run/metrics.h5 -a -f deep/er/run/checkpoint-3.h5
check "and nothing unfinished" test -z "$(find deep -name '*.tmp*')"
mv deep/er/run run

# --- a folder that holds a run is left as it is

snapshot run >before
for ranks in - 3; do
  expect_failure 73 "run already holds a run" $ranks train "${SMALL[@]}" output=run
  snapshot run | cmp - before || failed "$ranks ranks touched the run"
done
# Each of its files alone is a run, too.
for file in config.yaml metrics.h5 checkpoint-3.h5; do
  mkdir "only-$file"
  cp "run/$file" "only-$file/"
  expect_failure 73 "only-$file already holds a run ($file)" - train "${SMALL[@]}" output="only-$file"
  check "$file is as it was" cmp "run/$file" "only-$file/$file"
done
# The configuration may lie in the folder of the run; what is wrong is found before anything is removed.
for wrong in data=/nonexistent split=5000 network.10.dense.units=9 shards=3; do
  run - train "${SMALL[@]}" output=run overwrite=true "$wrong"
  check "$wrong fails" test "$CODE" != 0
  snapshot run | cmp - before || failed "a run that never began ($wrong) touched the old one"
done

# --- overwrite=true replaces the run's own files only

mkdir run/pictures
for own in notes.txt checkpoint.h5 checkpoint-3.h5.bak my-metrics.h5 pictures/loss.png; do echo mine >"run/$own"; done
touch run/checkpoint-77.h5
expect_success "" 3 train "${SMALL[@]}" steps=2 output=run overwrite=true
check "the old checkpoints are gone" test ! -e run/checkpoint-3.h5 -a ! -e run/checkpoint-77.h5
check "the new one is there" test -f run/checkpoint-2.h5
for own in notes.txt checkpoint.h5 checkpoint-3.h5.bak my-metrics.h5 pictures/loss.png; do
  check "run/$own is kept" grep -qx mine "run/$own"
done

# --- no place for a run

echo mine >file
expect_failure 74 "file: not a folder" - train "${SMALL[@]}" output=file
expect_failure 74 "file: not a folder" - train "${SMALL[@]}" output=file/below
expect_failure 74 "file: not a folder" 3 train "${SMALL[@]}" output=file/below
check "the file is as it was" grep -qx mine file
expect_failure 74 "/proc/lockstep: cannot be made" - train "${SMALL[@]}" output=/proc/lockstep
if [[ $(id -u) != 0 ]]; then # root may write everywhere
  mkdir --mode=0555 closed
  expect_failure 74 "closed" - train "${SMALL[@]}" output=closed
  expect_failure 74 "closed/run: cannot be made" - train "${SMALL[@]}" output=closed/run
  check "nothing was made" test -z "$(ls -A closed)"
fi

# --- a disk that is full: a limit on the size of files stands for it

limited() { # KIBIBYTES COMMAND..
  trap '' XFSZ
  ulimit -f "$1"
  shift
  exec "$@"
}
export -f limited
WRAP=(bash -c 'limited 1000 "$@"' limited)
expect_failure 74 "full/checkpoint-7.h5: " - train "${SMALL[@]}" output=full
check "no checkpoint, whole or in part" test -z "$(find full -name 'checkpoint*' -o -name '*.tmp*')"
check "metrics are whole" h5dump -H full/metrics.h5
WRAP=(bash -c 'limited 8 "$@"' limited)
# Memory that ranks share is a file to that limit.
expect_failure 74 "full3/metrics.h5: " 3 train "${SMALL[@]}" output=full3 window=false
check "nothing in part" test -z "$(find full3 -name '*.tmp*' -o -name 'metrics*')"
WRAP=()

# --- runs beside each other that share a folder: one gets it

expect_failure_of_some() {
  run 3 train "${SMALL[@]}" comm=self output=shared epochs=30
  check "runs that share a folder: code $CODE" test "$CODE" = 73
  check "each refused run says so" grep -q '^lockstep: .*error: shared' err
  check "nothing is left running" test -z "$(left_running)"
}
expect_failure_of_some
# With folders of their own they are what comm=self is for.
# shellcheck disable=SC2016
WRAP=(bash -c 'exec "$@" output=own-$OMPI_COMM_WORLD_RANK' alone)
expect_success "" 3 train "${SMALL[@]}" comm=self progress=none
check "three runs" test "$(grep -c '^fingerprint' out)" = 3 -a -f own-0/checkpoint-7.h5 -a -f own-2/checkpoint-7.h5
check "three times the same result" test "$(grep '^fingerprint' out | sort -u | wc -l)" = 1
finish
