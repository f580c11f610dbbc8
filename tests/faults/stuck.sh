#!/usr/bin/env bash
# A rank that stands still, or that has skipped a collective, is named; the run ends with 76 soon after the time-out, and no
# process is left.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

TIMEOUT=2
LAUNCHER=() # as users run it

expect_stuck() { # FOLDER SINCE PATTERN WHAT
  local seconds=$((SECONDS - $2))
  ((CODE == 76)) || fail "$4: exit $CODE, expected 76" "$1"
  ((seconds <= TIMEOUT + 10)) || fail "$4: took $seconds s" "$1"
  grep -q "error: rank . has waited .*$3" "$1.err" || fail "$4: expected \"$3\"" "$1"
  grep -q "in step [0-9]*, " "$1.err" || fail "$4: step and phase are not named" "$1"
  all_gone 5 || fail "$4: processes are left" "$1"
  echo "$4: $seconds s: $(grep -m 1 -o 'rank . has waited.*' "$1.err")"
}

# Stopped at a random moment after the first checkpoint.
for ((i = 0; i < 4 * SCALE; i++)); do
  ranks=$((2 + i % 2)) victim=$((i < 2 ? i : RANDOM % 3 % ranks)) folder=$WORK/stop-$i
  if ((i == 2)); then victim=0; elif ((i == 3)); then victim=2; fi
  start "$folder" "$ranks" "$LOCKSTEP" -- epochs=100000 checkpoint_interval=5 trail_interval=0 timeout=$TIMEOUT
  find_ranks "$ranks" || fail "no ranks" "$folder"
  until has_checkpoint "$folder"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$folder"
    sleep 0.01
  done
  sleep "0.$(printf %03d $((RANDOM % 300)))"
  kill -STOP "${RANK_PIDS[victim]}"
  since=$SECONDS
  finish
  expect_stuck "$folder" "$since" "for rank $victim, which is silent" "rank $victim of $ranks stopped"
  run "$folder" 1 "$LOCKSTEP" -- epochs=1 resume=auto
  rm -rf "$folder"
done

# Skipped a collective: it is ahead of the others.
for victim in 0 1 2; do
  folder=$WORK/skip-$victim
  start "$folder" 3 env "FAULTY=skip:$victim:5" "$LOCKSTEP_FAULTY" -- steps=1000 timeout=$TIMEOUT
  find_ranks 3 || fail "no ranks" "$folder"
  since=$SECONDS
  finish
  expect_stuck "$folder" "$since" "for rank $victim, which has gone on without it" "rank $victim of 3 skipped a collective"
done

# Before the first step, and after the last one, in MPI's own end.
start "$WORK/load" 3 env FAULTY=load:1:0 "$LOCKSTEP_FAULTY" -- steps=5 timeout=$TIMEOUT
find_ranks 3 || fail "no ranks" "$WORK/load"
since=$SECONDS
finish
expect_stuck "$WORK/load" "$since" "for rank 1, which is silent" "rank 1 of 3 stopped before it has the data"
start "$WORK/end" 3 env FAULTY=end:1:0 "$LOCKSTEP_FAULTY" -- steps=5 timeout=$TIMEOUT
find_ranks 3 || fail "no ranks" "$WORK/end"
since=$SECONDS
finish
((CODE == 76)) || fail "a rank stopped at the end: exit $CODE, expected 76" "$WORK/end"
((SECONDS - since <= TIMEOUT + 10)) || fail "a rank stopped at the end: took too long" "$WORK/end"
grep -qE '\[rank [02]\] error: waited [0-9.]+ s in MPI_Finalize' "$WORK/end.err" || fail "a rank stopped at the end: not said" "$WORK/end"
all_gone 5 || fail "a rank stopped at the end: processes are left" "$WORK/end"
