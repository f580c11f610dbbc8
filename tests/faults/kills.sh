#!/usr/bin/env bash
# Kills runs at random moments and resumes them, half of the time on another number of ranks, until they are done: what is
# left is to the bit what an uninterrupted run leaves, and no kill makes a bad checkpoint.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

KILLS=$((30 * SCALE)) LATE=$((20 * SCALE)) TORN=$((5 * SCALE))
RUN=(steps=40 checkpoint_interval=2 keep=2)
# Slow fsyncs: most of the time a temporary file is there.
SLOW=(env "LD_PRELOAD=$LOCKSTEP_FAILING_FILES" "FAILING_FILES_FOLDER=$WORK/" FAILING_FILES_DELAY=40 "$LOCKSTEP")
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0

# Waits for the moment of kill number I; false if the run ends before.
wait_for_moment() { # FOLDER I
  local pause=$((RANDOM % 500))
  case $(($2 % 3)) in
    0) until has_checkpoint "$1" && compgen -G "$1/checkpoint-*.tmp-*" >/dev/null; do
      kill -0 "$MPIRUN" 2>/dev/null || return 1
      sleep 0.002
    done ;;
    1) until has_checkpoint "$1"; do
      kill -0 "$MPIRUN" 2>/dev/null || return 1
      sleep 0.01
    done
      sleep "0.$(printf %03d "$pause")" ;;
    2) sleep "0.$(printf %03d $((2 * pause)))" ;;
  esac
  kill -0 "$MPIRUN" 2>/dev/null
}

temporaries() { # FOLDER
  compgen -G "$1/*.tmp-*" || true
}

strike() { # RANKS
  local victim=$((RANDOM % ($1 + 2)))
  if ((victim < $1)); then
    WHOM="rank $victim of $1" && kill -KILL "${RANK_PIDS[victim]}" 2>/dev/null
  elif ((victim == $1)); then
    WHOM="mpirun of $1" && kill -KILL "$MPIRUN" 2>/dev/null
  else
    WHOM="all $1 ranks" && kill -KILL "${RANK_PIDS[@]}" 2>/dev/null
  fi
}

make_reference "${RUN[@]}"
killed=0 late=0 torn=0 runs=0 launcher=0 everyone=0 moved=0
while ((killed < KILLS)); do
  folder=$WORK/run-$runs
  ranks=$((1 + RANDOM % 4))
  for ((strikes = 0; strikes < 4 && killed < KILLS;)); do
    leftover=$(temporaries "$folder")
    start "$folder" "$ranks" "${SLOW[@]}" -- "${RUN[@]}" resume=auto
    if find_ranks "$ranks" && wait_for_moment "$folder" "$killed" && strike "$ranks"; then
      if has_checkpoint "$folder"; then late=$((late + 1)); fi
      finish
      all_gone 20 || fail "processes are left after a kill of $WHOM" "$folder"
      ((CODE != 0)) || fail "exit 0 after a kill of $WHOM" "$folder"
      if has_temporary "$folder" && [[ $(temporaries "$folder") != "$leftover" ]]; then torn=$((torn + 1)); fi
      killed=$((killed + 1)) strikes=$((strikes + 1))
      case $WHOM in mpirun*) launcher=$((launcher + 1)) ;; all*) everyone=$((everyone + 1)) ;; esac
    else
      finish
      ((CODE == 0)) || fail "exit $CODE, although nothing was done to it" "$folder"
      strikes=99
    fi
    if grep -q "passed over" "$folder.err"; then fail "a kill left a bad checkpoint" "$folder"; fi
    if ((RANDOM % 2)); then moved=$((moved + 1)) && ranks=$((1 + (ranks + RANDOM % 3) % 4)); fi
  done
  run "$folder" "$ranks" "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  if grep -q "passed over" "$folder.err"; then fail "a kill left a bad checkpoint" "$folder"; fi
  expect_equal "$folder" "after $killed kills"
  rm -rf "$folder"
  runs=$((runs + 1))
done
echo "$killed kills ($launcher of mpirun, $everyone of all ranks), $late after the first checkpoint, $torn beside a" \
  "temporary file, $runs runs equal to the bit, $moved times on another number of ranks," \
  "$LAUNCHERS_ENDED launchers that had to be ended"
((late >= LATE)) || fail "only $late kills came after the first checkpoint; wanted $LATE"
((torn >= TORN)) || fail "only $torn kills left a temporary file; wanted $TORN"
