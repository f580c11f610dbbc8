#!/usr/bin/env bash
# launch/doctor.sh on two hosts: finds nothing where nothing is wrong, and names each fault that is planted.
#
#   doctor.sh TOP LOCKSTEP WORK_FOLDER DATA     to be run by hosts.sh with the hosts a and b
set -euo pipefail

TOP=$1 WORK=$3 DATA=$4
export LOCKSTEP=$2
rm -rf "$WORK"
mkdir -p "$WORK"
cp -r "$DATA" "$WORK/data"
printf 'a slots=1 # this one\nb slots=1\n' >"$WORK/hosts"
CASES=0 FAILED=0

# The code is as expected, and each TEXT is said, as are no more faults than that.
expect() { # WHAT FAULTS TEXTS.. -- ARGUMENTS..
  local what=$1 faults=$2 code=0 texts=() text
  shift 2
  while [[ $1 != -- ]]; do texts+=("$1") && shift; done
  shift
  "${WRAP[@]}" "$TOP/launch/doctor.sh" "$@" >"$WORK/said" 2>&1 || code=$?
  CASES=$((CASES + 1))
  for text in "$((faults)) fault" "${texts[@]}"; do
    grep -qF -- "$text" "$WORK/said" || code="$code, and \"$text\" is not said"
  done
  [[ $code == $((faults > 0)) ]] && return
  FAILED=$((FAILED + 1))
  echo "FAILED: $what: exit $code"
  sed 's/^/  /' "$WORK/said"
}

WRAP=()
expect "nothing wrong" 0 "a: rank 0 may use core" "b: rank 1 may use core" "a - b: " " us (least " \
  -- -n 2 --hostfile "$WORK/hosts" "data=$WORK/data"
grep -qE '^a - b: [0-9.]+ us \(least [0-9.]+\), [0-9.]+ GB/s .* clock [+-][0-9.]+ ms$' "$WORK/said" || {
  echo "FAILED: latency, rate and clocks are not said" && FAILED=$((FAILED + 1))
}

mkdir "$WORK/other"
printf '#!/bin/sh\necho "mpirun (Open MPI) 5.0.99"\n' >"$WORK/other/mpirun"
chmod +x "$WORK/other/mpirun"
echo "$WORK/other" >"$HOSTS/path.b"
expect "another Open MPI" 2 "b: mpirun (Open MPI) 5.0.99 ($WORK/other/mpirun), but a has mpirun (Open MPI)" \
  "b: the program runs with Open MPI" "no ranks were started" -- -n 2 --hostfile "$WORK/hosts" "data=$WORK/data"
rm "$HOSTS/path.b"

"$HOSTS/rsh" b mount -t tmpfs nothing "$WORK/data"
expect "no data" 1 "b: no data in $WORK/data" -- -n 2 --hostfile "$WORK/hosts" "data=$WORK/data"
"$HOSTS/rsh" b "cp $DATA/*ubyte $WORK/data && printf x | dd of=$WORK/data/train-labels-idx1-ubyte bs=1 seek=99 conv=notrunc status=none"
expect "other data" 1 "b: the data in $WORK/data are not those of a" -- -n 2 --hostfile "$WORK/hosts" "data=$WORK/data"
"$HOSTS/rsh" b umount "$WORK/data"

if (($(nproc) > 1)); then
  WRAP=(taskset -c 0)
  expect "one core for two ranks" 1 "a: ranks 0, 1 may use core 0 alone, 2 ranks on 1 of" -- -n 2 "data=$WORK/data"
  WRAP=()
fi

echo "c" >>"$WORK/hosts"
expect "no such host" 1 "c: cannot be reached: " -- -n 2 --hostfile "$WORK/hosts" "data=$WORK/data"

echo "$CASES cases, $FAILED failed"
((FAILED == 0))
