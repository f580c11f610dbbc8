#!/usr/bin/env bash
# Do all tiers of instructions that this processor has train to the same fingerprint, step by step?
#
#   tiers.sh BINARY WORK_FOLDER TRAIN_ARGUMENTS..
#
# Exits with 77 where h5dump is missing or there is one tier only.
set -euo pipefail

BINARY=$1 WORK=$2
shift 2
# shellcheck source-path=SCRIPTDIR source=../words.bash
source "$(dirname "$0")/../words.bash"
command -v h5dump >/dev/null || { echo "skipped: no h5dump"; exit 77; }
latest_words "$@"
rm -rf "$WORK"
mkdir -p "$WORK"

TIERS=() DIFFERENT=0
for tier in portable avx2 avx512; do
  LOCKSTEP_ISA=$tier "$BINARY" --version >/dev/null 2>&1 || continue
  TIERS+=("$tier")
  LOCKSTEP_ISA=$tier "$BINARY" train "${WORDS[@]}" output="$WORK/$tier" trail_interval=1 progress=none \
    >"$WORK/$tier.out" 2>"$WORK/$tier.err" || {
    echo "$tier failed with exit code $?:"
    cat "$WORK/$tier.out" "$WORK/$tier.err"
    exit 1
  }
  h5dump -m %.17g -d /trail/step -d /trail/fingerprint -d /trail/tensors "$WORK/$tier/metrics.h5" | tail -n +2 >"$WORK/$tier.trail"
  tail -n 1 "$WORK/$tier.out" >>"$WORK/$tier.trail"
  grep -q '^fingerprint ' "$WORK/$tier.trail" || { echo "$tier: no fingerprint"; exit 1; }
  if cmp -s "$WORK/portable.trail" "$WORK/$tier.trail"; then
    echo "$tier: $(tail -n 1 "$WORK/$tier.trail")"
  else
    echo "$tier: DIFFERS: $(diff "$WORK/portable.trail" "$WORK/$tier.trail" | sed -n 2p)"
    DIFFERENT=$((DIFFERENT + 1))
  fi
done
((${#TIERS[@]} > 1)) || { echo "skipped: one tier only"; exit 77; }
((DIFFERENT == 0))
