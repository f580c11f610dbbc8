#!/usr/bin/env bash
# A rank of another host is killed or stopped, or that host's link is cut: all end soon, with the right code and the name of
# rank and host; nothing is left running; and the run goes on, on one host alone, to the bits of an uninterrupted one. A
# host whose parameters are not those of the others is named.
#
# To be run by hosts.sh with the hosts a and b. LOCKSTEP_FAULTS: so many rounds of all of these (default 1).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../faults/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../faults/common.sh"

TIMEOUT=3 RUN=(epochs=40 checkpoint_interval=20 keep=2)
LAUNCHER=(-H "a:2,b:2")
export LAUNCHER_PATIENCE=3

# The processes of ranks, by rank: those of this namespace of processes are all of this test.
find_hosts_ranks() {
  local file pid rank deadline=$((SECONDS + 30))
  while ((SECONDS < deadline)); do
    RANK_PIDS=()
    for file in /proc/[0-9]*/environ; do
      pid=${file#/proc/} pid=${pid%/environ}
      [[ $(readlink "/proc/$pid/exe" || true) == */lockstep ]] || continue
      rank=$(tr '\0' '\n' 2>/dev/null <"$file" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') || continue
      if [[ -n $rank ]]; then RANK_PIDS[rank]=$pid; fi
    done
    if ((${#RANK_PIDS[@]} == 4)); then return 0; fi
    kill -0 "$MPIRUN" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

# What of the run is there still, but for zombies: ranks, and what mpirun has started on a host.
left_running() {
  ps -eo stat=,pid=,comm= | awk '$1 !~ /^Z/ && $3 ~ /^(lockstep|orted|prted|mpirun|prterun)/ { print $2 }'
}

nothing_left() { # SECONDS
  local deadline=$((SECONDS + $1))
  while [[ -n $(left_running) ]]; do
    if ((SECONDS >= deadline)); then return 1; fi
    sleep 0.1
  done
}

# What each rank says, and its exit code, also where the way to mpirun is cut.
# shellcheck disable=SC2016 # expanded by the ranks' shell
TOLD='code=0; "$@" 2>"$0.$OMPI_COMM_WORLD_RANK.err" || code=$?; echo "$code" >"$0.$OMPI_COMM_WORLD_RANK.code"
cat "$0.$OMPI_COMM_WORLD_RANK.err" >&2; exit "$code"'

begin() { # FOLDER
  start "$1" 4 bash -c "$TOLD" "$1" "$LOCKSTEP" -- "${RUN[@]}" timeout=$TIMEOUT
  find_hosts_ranks || fail "no ranks" "$1"
  until has_checkpoint "$1"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$1"
    sleep 0.01
  done
  sleep "0.$(printf %03d $((RANDOM % 200)))"
  kill -0 "$MPIRUN" 2>/dev/null || fail "ended before anything was done to it" "$1"
  SINCE=$SECONDS
}

# The code, unless mpirun had locked itself out and was ended (launch/environment.sh): what the ranks said counts then.
ended_with() { # CODE
  ((CODE == $1)) || [[ -s $WORK/launcher ]]
}

# Names the ranks of one host that the others miss.
expect_named() { # FOLDER FILE RANKS HOST
  grep -q "error: rank . has waited .*in step [0-9]*, .* for rank $3 of host $4, which is silent" "$2" ||
    fail "rank $3 of host $4 is not named in $2" "$1"
}

went_on() { # FOLDER WHAT
  nothing_left 20 || fail "$2: left running: $(ps -o pid,stat,args -p "$(left_running | paste -sd,)")" "$1"
  local seconds=$((SECONDS - SINCE))
  run_alone "$1" "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  expect_equal "$1" "$2, resumed on one host"
  echo "$2: all over after $seconds s; resumed to the same bits"
  rm -rf "$1" "$1".*
}

killed() { # FOLDER
  local victim=$((RANDOM % 4))
  begin "$1"
  kill -KILL "${RANK_PIDS[victim]}"
  finish
  ((CODE == 137)) || fail "rank $victim killed: exit $CODE" "$1"
  went_on "$1" "rank $victim of 2 x 2 killed"
}

stopped() { # FOLDER
  local victim=$((RANDOM % 4)) host=a
  if ((victim > 1)); then host=b; fi
  begin "$1"
  kill -STOP "${RANK_PIDS[victim]}"
  finish
  ended_with 76 || fail "rank $victim stopped: exit $CODE" "$1"
  expect_named "$1" "$1.err" "$victim" "$host"
  went_on "$1" "rank $victim of 2 x 2 stopped"
}

# Both sides find the other silent. mpirun cannot end those that it does not reach, nor itself: it is ended here as by
# launch/run.sh, and what it had started on b ends when it finds that out.
cut_off() { # FOLDER
  local rank side
  begin "$1"
  "$HOSTS/link" b down
  finish
  ended_with 76 || fail "the link cut: exit $CODE" "$1"
  all_gone 20 || fail "the link cut: ranks are left" "$1"
  for side in "0 1 a" "2 3 b"; do
    read -r -a rank <<<"$side"
    [[ $(cat "$1.${rank[0]}.code" "$1.${rank[1]}.code" 2>/dev/null) == *76* ]] ||
      fail "no rank of host ${rank[2]} ended with 76" "$1"
  done
  cat "$1.0.err" "$1.1.err" >"$1.a"
  cat "$1.2.err" "$1.3.err" >"$1.b"
  expect_named "$1" "$1.a" "2, 3" b
  expect_named "$1" "$1.b" "0, 1" a
  "$HOSTS/link" b up
  went_on "$1" "the link of one of 2 hosts cut"
}

# A bit that turns in one host's sum of a gradient: its parameters are no longer those of the others.
different() { # FOLDER
  local step=$((1 + RANDOM % 20)) LAUNCHER=(-H "a:2,b:1")
  run "$1" 3 env "FAULTY=sum:2:$step" "$LOCKSTEP_FAULTY" -- "${RUN[@]}" checkpoint_interval=1
  ended_with 79 || fail "a sum that differs: exit $CODE" "$1"
  grep -q "step $step: the replicas differ: rank 2 of host b does not hold what the other 2 hold" "$1.err" ||
    fail "a sum that differs in step $step: not said" "$1"
  ((step == 1)) || [[ $(newest "$1") == */checkpoint-$((step - 1)).h5 ]] || fail "newest is $(newest "$1")" "$1"
  nothing_left 10 || fail "a sum that differs: left running" "$1"
  rm -rf "$1" "$1".*
  echo "another sum on one host in step $step: found after it"
}

make_reference "${RUN[@]}"
for ((i = 0; i < SCALE; i++)); do
  for fault in killed stopped cut_off different; do "$fault" "$WORK/$fault-$i"; done
done
echo "$((4 * SCALE)) of $((4 * SCALE)) faults on two hosts ended as they must; launchers that had to be ended: $LAUNCHERS_ENDED"
