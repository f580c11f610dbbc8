#!/usr/bin/env bash
# Trains two small models, evaluates them, and has check_predict compare its answers with the evaluation's.
# predict.sh LOCKSTEP CHECK_PREDICT WORK_FOLDER DATA EXPERIMENTS
set -euo pipefail
LOCKSTEP=$1 CHECK=$2 WORK=$3 DATA=$4 EXPERIMENTS=$5
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"

compare() { # NAME CONFIG KEY=VALUE..
  "$LOCKSTEP" train "$2" "output=$1" "data=$DATA" "${@:3}" >"$1.log" 2>&1 || { cat "$1.log" && exit 1; }
  local checkpoint
  checkpoint=$(echo "$1"/checkpoint-*.h5)
  "$LOCKSTEP" eval "$checkpoint" "data=$DATA" --output "$1/eval.h5" >"$1.eval"
  "$CHECK" "$checkpoint" "$DATA" "$1/eval.h5" "$1/scratch.h5"
}

compare mlp "$EXPERIMENTS/table1/row6-published.yaml" split=1700 epochs=1
compare cnn_bf16 "$EXPERIMENTS/cnn/network3-inferred.yaml" split=1900 steps=3 batch=40 precision=bf16 eval_batch=100
echo "predict: passed"
