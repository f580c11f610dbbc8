#!/usr/bin/env bash
# A bit of one rank's parameters, moments or statistics flips: the check after that step finds it and names the rank.
# Ranks that share a window have one copy of the moments between them, with which there is nothing to compare.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

FLIPS=$((12 * SCALE))
ARENAS=(value moment1 moment2 statistics)

for ((i = 0; i < FLIPS; i++)); do
  arena=${ARENAS[i % 4]} ranks=$((i % 6 == 5 ? 2 : 3)) step=$((1 + RANDOM % 20))
  rank=$((RANDOM % ranks)) bit=$((RANDOM << 15 | RANDOM)) folder=$WORK/run
  window=true
  if ((i / 4 % 2)) || [[ $arena == moment* ]]; then window=false; fi
  what="bit $bit of rank $rank's $arena in step $step of $ranks ranks, window=$window"
  run "$folder" "$ranks" env "FAULTY=flip:$rank:$step:$arena:$bit" "$LOCKSTEP_FAULTY" -- steps=22 checkpoint_interval=1 \
    "window=$window"
  ((CODE == 79)) || fail "$what: exit $CODE, expected 79" "$folder"
  (($(grep -c 'error:' "$folder.err") == 1)) || fail "$what: expected one message" "$folder"
  if ((ranks == 3)); then
    grep -q "step $step: .*rank $rank does not hold what the other 2 hold" "$folder.err" || fail "$what: not named" "$folder"
  else
    grep -q "step $step: .*either may be at fault" "$folder.err" || fail "$what: not said" "$folder"
  fi
  # What went wrong never got into a checkpoint.
  if ((step > 1)); then
    [[ $(newest "$folder") == */checkpoint-$((step - 1)).h5 ]] || fail "$what: newest is $(newest "$folder")" "$folder"
  else
    if has_checkpoint "$folder"; then fail "$what: a checkpoint was written" "$folder"; fi
  fi
  rm -rf "$folder"
done
echo "$FLIPS flipped bits: each found at the next check"
