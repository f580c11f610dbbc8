#!/usr/bin/env bash
# The fault tests at the counts of a release, and row 6 of the paper on real MNIST on many numbers of ranks. Hours.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/release.sh [BUILD_FOLDER] [FACTOR] [NAME ...]

Runs tests/faults with FACTOR times CTest's counts (default 34: 1,020 kills, 136 runs stopped and continued, 136 faults of
ranks and links on two hosts), with every file call of a run failing, files made to break HDF5 (10,880), and, if LOCKSTEP_DATA is set, row 6 as published for two epochs on 1, 2, 3, 5 and 8 ranks and
with 2 and 3 threads, at batches of 256 and 250. Every configuration of experiments/ for three steps in all tiers of
instructions. BUILD_FOLDER (default build/release) is built already. NAMEs: only these of disk, kills, damage, stuck,
asleep, signals, replicas, folder, hosts, hostile, tiers, row6.

LOCKSTEP_SEED=N: other random numbers. Logs are left in BUILD_FOLDER/release; ends with a summary, and with 1 if
anything failed.
END
}

case ${1:-} in
  -h | --help) usage && exit 0 ;;
  -*) usage >&2 && exit 2 ;;
esac
TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
BUILD=$(realpath -- "${1:-$TOP/build/release}")
FACTOR=${2:-34}
[[ $FACTOR =~ ^[1-9][0-9]*$ && -x $BUILD/lockstep ]] || { usage >&2 && exit 2; }
NAMES=("${@:3}")
if ((${#NAMES[@]} == 0)); then NAMES=(disk kills damage stuck asleep signals replicas folder hosts hostile tiers row6); fi

# shellcheck source-path=SCRIPTDIR source=../launch/environment.sh
source "$TOP/launch/environment.sh"
mpi_environment
export LOCKSTEP=$BUILD/lockstep LOCKSTEP_FAULTY=$BUILD/tests/faults/lockstep_faulty LOCKSTEP_FAULTS=$FACTOR
export LOCKSTEP_FAILING_FILES=$BUILD/tests/faults/libfailing_files.so LOCKSTEP_MADE_DATA=$BUILD/made_idx
LOGS=$BUILD/release
mkdir -p "$LOGS"
"$BUILD/tests/io/make_idx" "$LOCKSTEP_MADE_DATA" 2000 500

SUMMARY=() FAILED=0
record() { # NAME COMMAND..: its last line goes into the summary
  local name=$1 status=0 begin=$SECONDS
  shift
  echo "$name .."
  "$@" >"$LOGS/$name.log" 2>&1 || status=$?
  if ((status != 0)); then FAILED=$((FAILED + 1)); fi
  SUMMARY+=("$(printf '%-14s exit %-3d %6d s  %s' "$name" "$status" $((SECONDS - begin)) "$(tail -n 1 "$LOGS/$name.log")")")
  echo "${SUMMARY[-1]}"
}

row6() { # BATCH
  "$TOP/tests/train/ranks.sh" "$LOCKSTEP" "$LOGS/row6-$1" "2 3 5 8" "2 3" \
    "$TOP/experiments/table1/row6-published.yaml" "data=$LOCKSTEP_DATA" epochs=2 "batch=$1"
}

tiers() {
  local config name wrong=0
  "$BUILD/tests/io/make_idx" "$LOGS/few" 140 40
  for config in "$TOP"/experiments/{table1,table2,cnn}/*.yaml; do
    name=$(basename "$(dirname "$config")")-$(basename "$config" .yaml)
    for precision in fp32 bf16; do
      echo "$name $precision"
      "$TOP/tests/train/tiers.sh" "$LOCKSTEP" "$LOGS/tiers/$name-$precision" "$config" "data=$LOGS/few" split=100 batch=20 \
        samples_per_epoch=0 steps=3 "precision=$precision" || wrong=$((wrong + 1))
    done
  done
  echo "$wrong configurations differ between tiers"
  ((wrong == 0))
}

for name in "${NAMES[@]}"; do
  case $name in
    disk | kills | damage | stuck | asleep | signals | replicas | folder)
      record "$name" "$TOP/tests/faults/$name.sh" "$LOGS/$name" ;;
    hosts)
      record hosts "$TOP/tests/hosts/hosts.sh" a,b "$TOP/tests/hosts/faults.sh" "$LOGS/hosts" ;;
    hostile)
      LOCKSTEP_HOSTILE=$FACTOR record hostile "$TOP/tests/inspect/hostile.sh" "$LOCKSTEP" "$BUILD/tests/inspect/test_hostile" \
        "$LOGS/hostile" "$LOCKSTEP_MADE_DATA" ;;
    tiers) record tiers tiers ;;
    row6)
      if [[ -z ${LOCKSTEP_DATA:-} ]]; then
        SUMMARY+=("row6           left out: LOCKSTEP_DATA is not set")
        continue
      fi
      for batch in 256 250; do record "row6-$batch" row6 "$batch"; done ;;
    *) usage >&2 && exit 2 ;;
  esac
done
echo
printf '%s\n' "$("$LOCKSTEP" --version | head -n 1), counts x $FACTOR, seed ${LOCKSTEP_SEED:-1}:" "${SUMMARY[@]}"
if ((FAILED > 0)); then echo "$FAILED failed" && exit 1; fi
