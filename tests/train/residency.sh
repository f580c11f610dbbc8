#!/usr/bin/env bash
# Is backend memory touched by kernels alone? Trains, evaluates, checkpoints, resumes and attacks on one rank with a
# program that notes everybody else (residency.c). Nobody may be found but the function that shows that it would be.
#
#   residency.sh BINARY WORK_FOLDER DATA FEW NETWORK..     DATA: folder of IDX files for MLP and CNN, FEW: for the rest
set -euo pipefail

BINARY=$1 WORK=$2 DATA=$3 FEW=$4 ROW6=$5 CNN=$6 RESNET=$7
export LS_RESIDENCY_LIST=$WORK/list

rm -rf "$WORK"
mkdir -p "$WORK"
lockstep() {
  "$BINARY" "$@" >"$WORK/out" 2>"$WORK/err" || { echo "lockstep $* failed:"; cat "$WORK/out" "$WORK/err"; exit 1; }
  grep -q '^residency: [1-9]' "$WORK/err" || { echo "lockstep $*: no kernel was seen"; cat "$WORK/err"; exit 1; }
}

run() { # NAME DATA TRAIN_ARGUMENTS..: the second epoch is a resumed one
  local name=$1 data=$2 arguments=("${@:3}") checkpoints
  arguments+=("data=$data" threads=1 "output=$WORK/$name" progress=none check_interval=2 trail_interval=1)
  lockstep train "${arguments[@]}" epochs=1
  lockstep train "${arguments[@]}" epochs=2 resume=auto
  checkpoints=("$WORK/$name"/checkpoint-*.h5)
  lockstep attack "${checkpoints[-1]}" "data=$data" epsilon=0,0.1 samples=10 eval_batch=10
}

run mlp "$DATA" "$ROW6" batch=50 split=1900 samples_per_epoch=100
run statistics "$DATA" "$ROW6" batch=50 split=1900 samples_per_epoch=50 optimizer=momentum \
  'network.1={batchnorm: {statistics: dataset}}'
run cnn "$DATA" "$CNN" batch=20 split=1900 samples_per_epoch=20 augment=0.5
run resnet "$FEW" "$RESNET" batch=20 split=100 samples_per_epoch=20 augment=0.5

FOUND=$(sort -u "$LS_RESIDENCY_LIST")
if [[ $FOUND != touches_on_purpose ]]; then
  echo "functions that touch backend memory outside kernels, but for touches_on_purpose, which must be among them:"
  echo "$FOUND"
  exit 1
fi
