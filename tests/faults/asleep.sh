#!/usr/bin/env bash
# Ranks that were all stopped and continued (Ctrl-Z and fg, a closed lid, a paused container) are not stuck, however long it
# was; nor is one that a debugger stopped for less than the time-out. One that hangs alone is named within the deadline and
# one beat, also where all had been asleep before.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

LAUNCHER=() # as users run it

now() { date +%s%3N; }

# Sets RAN and DELAYED: nanoseconds that a process has run, milliseconds for which it would have run and was not let.
read_schedule() { # PID
  { read -r RAN DELAYED _ <"/proc/$1/schedstat"; } 2>/dev/null || return 1
  DELAYED=$((DELAYED / 1000000))
}

# Starts a run that lasts, and waits until it trains.
begin() { # FOLDER RANKS SETTINGS..
  local folder=$1 ranks=$2
  shift 2
  start "$folder" "$ranks" "$LOCKSTEP" -- epochs=100000 checkpoint_interval=5 trail_interval=0 "$@"
  find_ranks "$ranks" || fail "no ranks" "$folder"
  until has_checkpoint "$folder"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
    sleep 0.01
  done
  sleep "0.$(printf %03d $((RANDOM % 300)))"
}

# It takes steps now that it had not taken before, and goes on doing so for longer than the time-out.
expect_going() { # FOLDER WHAT
  local before deadline=$((SECONDS + 20))
  before=$(newest "$1")
  sleep 1.3
  while [[ $(newest "$1") == "$before" ]]; do
    kill -0 "$MPIRUN" 2>/dev/null || { finish && fail "$2: the run ended, exit $CODE" "$1"; }
    ((SECONDS < deadline)) || fail "$2: no steps are taken" "$1"
    sleep 0.05
  done
  kill -0 "$MPIRUN" 2>/dev/null || { finish && fail "$2: the run ended, exit $CODE" "$1"; }
}

# Runs wait most of the time, so that several go beside each other, each lane in a process of its own. The four pairs of 2 or
# 3 ranks and the window on or off come in turn.
cases=$((4 * SCALE)) LANES=2
# shellcheck disable=SC2030,SC2031 # what a case sets is of its lane

lane() { # NUMBER COMMAND: every LANES-th case
  trap end_started EXIT
  RANDOM=$((SEED + $1))
  for ((CASE = $1; CASE < cases; CASE += LANES)); do
    ranks=$((2 + CASE / 2 % 2)) window=$([[ $((CASE % 2)) == 0 ]] && echo true || echo false) folder=$WORK/$2-$1
    what="$ranks ranks, window=$window"
    "$2"
    rm -rf "$folder"
  done
}

stopped_and_continued() {
  begin "$folder" "$ranks" "window=$window" timeout=1
  local victim=${RANK_PIDS[RANDOM % ranks]}
  kill -STOP "$victim"
  sleep 0.6
  kill -CONT "$victim"
  expect_going "$folder" "$what, one stopped for 0.6 s"
  kill -STOP "${RANK_PIDS[@]}"
  sleep 1.5
  kill -CONT "${RANK_PIDS[@]}"
  expect_going "$folder" "$what, all stopped for 1.5 s"
  kill -USR1 "${RANK_PIDS[0]}"
  finish
  ((CODE == 75)) || fail "$what: exit $CODE, expected 75" "$folder"
}

# The rank that speaks does so when it has waited for the time-out, and a quarter of a second more for each rank below it, at
# its next beat. Beats are an eighth of the time-out apart. That is the bound, by the rank's own clock and by ours, where the
# system lets the processes run. A rank that waits looks around at least once a beat: one that looked later, though it would
# have run, was not let. It does not count such time, rightly, and after more than two beats of it listens for four.
TIMEOUT=4000 BEAT=500

# Adds to WITHHELD and LISTENED of each rank what it has missed since it ran last, in milliseconds.
follow_ranks() {
  local r took
  for r in "${!LAST[@]}"; do
    read_schedule "${RANK_PIDS[r]}" || continue
    if ((RAN == LAST[r])); then continue; fi
    took=$(($(now) - LOOKED[r]))
    if ((took > BEAT && DELAYED - BEFORE[r] > 50)); then WITHHELD[r]=$((WITHHELD[r] + took)); fi
    if ((took > 2 * BEAT - 50 && DELAYED - BEFORE[r] > 50)); then LISTENED[r]=$((LISTENED[r] + 4 * BEAT)); fi
    LAST[r]=$RAN BEFORE[r]=$DELAYED LOOKED[r]=$((LOOKED[r] + took))
  done
}

hangs_alone() {
  local victim=$((RANDOM % ranks)) since took said speaker waited deadline r looked launcher=0
  what="rank $victim of $what, hangs"
  begin "$folder" "$ranks" "window=$window" "timeout=$((TIMEOUT / 1000))"
  kill -STOP "${RANK_PIDS[@]}"
  # in half of the cases, of each pair in turn: all asleep, and one of them never wakes
  if (((CASE % 4 % 3 == 0) ^ (CASE / 4 % 2))); then sleep 4.5; fi
  since=$(now)
  looked=$since LAST=() BEFORE=() LOOKED=() WITHHELD=() LISTENED=()
  if read_schedule "$MPIRUN"; then launcher=$DELAYED; fi
  for ((r = 0; r < ranks; r++)); do
    if ((r == victim)); then continue; fi
    read_schedule "${RANK_PIDS[r]}" || fail "$what: a rank has ended" "$folder"
    LAST[r]=$RAN BEFORE[r]=$DELAYED LOOKED[r]=$since WITHHELD[r]=0 LISTENED[r]=0
    kill -CONT "${RANK_PIDS[r]}"
  done
  # nobody had said so when it was last looked for in vain
  until took=$((looked - since)) && looked=$(now) && grep -q 'has waited' "$folder.err"; do
    ((took < 60000)) || fail "$what: nobody says so" "$folder"
    follow_ranks
    sleep 0.01
  done
  follow_ranks
  if read_schedule "$MPIRUN"; then launcher=$((DELAYED - launcher)); else launcher=0; fi
  finish
  ((CODE == 76)) || fail "$what: exit $CODE, expected 76" "$folder"
  said=$(grep -m 1 -o "rank . has waited [0-9.]* s in step.* for rank $victim, which is silent" "$folder.err") ||
    fail "$what: it is not named" "$folder"
  speaker=${said:5:1} waited=$(grep -o 'waited [0-9.]*' <<<"$said" | tr -dc 0-9) # in tenths
  deadline=$((TIMEOUT + 250 * speaker + BEAT + LISTENED[speaker]))
  ((100 * waited <= deadline + 50)) || fail "$what: named after $waited tenths, expected $deadline ms" "$folder"
  # nor is what the launcher had to wait for a processor the rank's waiting
  deadline=$((deadline + WITHHELD[speaker] + launcher))
  ((took <= deadline + 100)) || fail "$what: named after $took ms, expected $deadline ms" "$folder"
  all_gone 5 || fail "$what: processes are left" "$folder"
}

lanes=() failed=0
for ((i = 0; i < LANES; i++)); do
  lane "$i" stopped_and_continued &
  lanes+=("$!")
  lane "$i" hangs_alone &
  lanes+=("$!")
done
for pid in "${lanes[@]}"; do wait "$pid" || failed=1; done
((failed == 0)) || exit 1
echo "$cases runs went on after all and one of their ranks had been stopped; $cases ranks that hang were named in time"
