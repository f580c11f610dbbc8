#!/usr/bin/env bash
# A bit of one rank's parameters, moments or statistics flips: the check after that step, or the next update, finds it and
# names the rank; with a window, where ranks share all but the statistics, and by messages, where each has its own.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

FLIPS=$((12 * SCALE))
ARENAS=(value moment1 moment2 statistics)

train() { # FOLDER RANKS FAULT KEY..
  run "$1" "$2" env "FAULTY=$3" "$LOCKSTEP_FAULTY" -- steps=22 "${@:4}"
  ((CODE == 79)) || fail "$what: exit $CODE, expected 79" "$folder"
  (($(grep -c 'error:' "$folder.err") == 1)) || fail "$what: expected one message" "$folder"
}

# Found by the check after the step, and never in a checkpoint.
flip() { # NUMBER
  local arena=${ARENAS[$1 % 4]} ranks=$(($1 % 6 == 5 ? 2 : 3)) step=$((1 + RANDOM % 20)) window=true
  local rank=$((RANDOM % ranks)) bit=$((RANDOM << 15 | RANDOM)) said
  if (($1 / 4 % 2)); then window=false; fi
  what="bit $bit of rank $rank's $arena in step $step of $ranks ranks, window=$window" folder=$WORK/run
  train "$folder" "$ranks" "flip:$rank:$step:$arena:$bit" checkpoint_interval=1 "window=$window"
  said="step $step: the parameters or moments that rank $rank updates have changed"
  if [[ $arena == statistics ]]; then said="step $step: .*rank $rank does not hold what the other $((ranks - 1)) hold"; fi
  if [[ $arena == statistics ]] && ((ranks == 2)); then said="step $step: .*either may be at fault"; fi
  grep -q "$said" "$folder.err" || fail "$what: not said" "$folder"
  if ((step > 1)); then
    [[ $(newest "$folder") == */checkpoint-$((step - 1)).h5 ]] || fail "$what: newest is $(newest "$folder")" "$folder"
  else
    if has_checkpoint "$folder"; then fail "$what: a checkpoint was written" "$folder"; fi
  fi
  rm -rf "$folder"
}

# Between two steps of which neither is checked: the next update reads it, and the run ends with the step after that.
spoil() { # NUMBER
  local arena=${ARENAS[$1 % 3]} ranks=$((1 + $1 % 3)) step=$((1 + RANDOM % 20)) window=true
  local rank=$((RANDOM % ranks)) bit=$((RANDOM << 15 | RANDOM))
  if (($1 % 2)); then window=false; fi
  if (($1 % 3 == 2)); then step=1; fi # what was initialised is watched too
  what="bit $bit of rank $rank's $arena before step $step of $ranks ranks, window=$window" folder=$WORK/run
  train "$folder" "$ranks" "spoil:$rank:$step:$arena:$bit" checkpoint_interval=0 check_interval=1000 "window=$window"
  grep -q "step $((step - 1)): the parameters or moments that rank $rank updates have changed" "$folder.err" ||
    fail "$what: not said" "$folder"
  if has_checkpoint "$folder"; then fail "$what: a checkpoint was written" "$folder"; fi
  rm -rf "$folder"
}

# After a resume, before the first update of that process.
resumed() { # NUMBER
  local arena=${ARENAS[$1 % 3]} rank=$(($1 % 2)) bit=$((RANDOM << 15 | RANDOM)) window=true
  if (($1 % 2)); then window=false; fi
  what="bit $bit of rank $rank's $arena after a resume, window=$window" folder=$WORK/run
  run "$folder" 2 env FAULTY=signal:0:5 "$LOCKSTEP_FAULTY" -- steps=22 checkpoint_interval=0 "window=$window"
  ((CODE == 75)) || fail "$what: stopped with $CODE, expected 75" "$folder"
  run "$folder" 2 env "FAULTY=spoil:$rank:1:$arena:$bit" "$LOCKSTEP_FAULTY" -- steps=22 checkpoint_interval=0 "window=$window" \
    resume=auto
  ((CODE == 79)) || fail "$what: exit $CODE, expected 79" "$folder"
  grep -q "the parameters or moments that rank $rank updates have changed" "$folder.err" || fail "$what: not said" "$folder"
  rm -rf "$folder"
}

for ((i = 0; i < FLIPS; i++)); do flip "$i"; done
for ((i = 0; i < FLIPS / 2; i++)); do spoil "$i"; done
for ((i = 0; i < FLIPS / 4; i++)); do resumed "$i"; done
echo "$((FLIPS + FLIPS / 2 + FLIPS / 4)) flipped bits: each found at the next check or update"
