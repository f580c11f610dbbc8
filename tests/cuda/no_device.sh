#!/usr/bin/env bash
# The program with kernels for GPUs, where there is no driver, or no GPU: device=cuda ends with its message and 70,
# device=auto trains on the processor, to the same bits as a program without CUDA, and says why.
#
#   no_device.sh DATA WORK_FOLDER PROGRAM_WITHOUT
#
# LOCKSTEP_WITH_CUDA names the program; without it, exit 77.
set -euo pipefail
DATA=$1 WORK=$2 WITHOUT=$3
[[ -n ${LOCKSTEP_WITH_CUDA:-} ]] || { echo "skipped: LOCKSTEP_WITH_CUDA names no program (launch/test.sh builds it where nvcc is)"; exit 77; }
rm -rf "$WORK"
mkdir -p "$WORK"

fail() {
  echo "$1" >&2
  exit 1
}

CONFIG=$WORK/small.yaml
echo 'network: [flatten, batchnorm, {dense: {units: 12}}, relu, {dense: {units: 10}}]' >"$CONFIG"
train() { # NAME PROGRAM SETTINGS..
  local name=$1 program=$2 code=0
  shift 2
  CUDA_VISIBLE_DEVICES='' "$program" train "$CONFIG" "data=$DATA" split=200 batch=50 epochs=1 comm=self progress=line \
    "output=$WORK/$name" "$@" >"$WORK/$name.out" 2>"$WORK/$name.err" || code=$?
  echo $code
}

code=$(train cuda "$LOCKSTEP_WITH_CUDA" device=cuda)
((code == 70)) || fail "device=cuda: exit $code, expected 70: $(cat "$WORK/cuda.err")"
grep -qE '^lockstep: error: device=cuda: (no usable NVIDIA driver|no NVIDIA GPU is visible)' "$WORK/cuda.err" ||
  fail "device=cuda: not said: $(cat "$WORK/cuda.err")"
code=$(train auto "$LOCKSTEP_WITH_CUDA" device=auto)
((code == 0)) || fail "device=auto: exit $code: $(cat "$WORK/auto.err")"
grep -qE '^device cpu: (no usable NVIDIA driver|no NVIDIA GPU is visible)' "$WORK/auto.out" ||
  fail "device=auto: not said: $(cat "$WORK/auto.out")"
code=$(train without "$WITHOUT" device=cpu)
((code == 0)) || fail "the program without CUDA: exit $code: $(cat "$WORK/without.err")"
cmp <(grep '^fingerprint' "$WORK/auto.out") <(grep '^fingerprint' "$WORK/without.out") || fail "other bits than without CUDA"
grep -hE '^device|error:' "$WORK/auto.out" "$WORK/cuda.err"
