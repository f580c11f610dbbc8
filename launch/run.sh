#!/usr/bin/env bash
# Trains until the run is done: goes on from the newest good checkpoint, and starts again after a fault.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/run.sh [-n RANKS] [--restarts N] CONFIG [KEY=VALUE ...]

Trains with mpirun and resume=auto: a run that was stopped or killed goes on where its newest good checkpoint stands, on
any number of ranks. After a fault (a dead rank, a stuck one, a full disk) it starts again; checkpoint_interval=STEPS
says how much is lost. Configuration, data and a loss that is not finite are no faults: starting again would not help.

  -n RANKS        ranks; default: LOCKSTEP_RANKS, or 2
  --restarts N    give up after N restarts in a row that brought no new checkpoint; default 3
  KEY=VALUE       any key of the configuration but resume (lockstep --keys)

SIGUSR1, SIGTERM and Ctrl-C stop the run after the batch at hand, be it of training or of an evaluation, with a checkpoint
and exit code 75; a second Ctrl-C ends it at once. Otherwise the exit code is that of the last run (README, "Exit codes").

Environment: LOCKSTEP=PROGRAM instead of build/release/lockstep; MPIRUN_OPTIONS, for example "--hostfile hosts".
END
}

read_arguments() {
  RANKS=${LOCKSTEP_RANKS:-2} RESTARTS=3 WORDS=()
  while (($#)); do
    case $1 in
      -h | --help) usage && exit 0 ;;
      -n | --restarts)
        [[ ${2:-} =~ ^[0-9]{1,6}$ ]] || { usage >&2 && exit 2; }
        if [[ $1 == -n ]]; then RANKS=$2; else RESTARTS=$2; fi
        shift ;;
      -* | resume=*) usage >&2 && exit 2 ;;
      *) WORDS+=("$1") ;;
    esac
    shift
  done
  ((${#WORDS[@]} > 0 && RANKS > 0)) || { usage >&2 && exit 2; }
}

# Sets FOLDER to the run's: what the program makes of the configuration, which it checks at the same time.
find_folder() {
  local resolved status=0 name
  resolved=$("$LOCKSTEP" train --dry-run "${WORDS[@]}" </dev/null) || status=$?
  if ((status != 0)); then exit "$status"; fi
  FOLDER=$(sed -n 's/^output: *//p' <<<"$resolved")
  if [[ $FOLDER == \"*\" ]]; then # the two escapes that the program writes
    FOLDER=$(sed 's/^"\(.*\)"$/\1/; s/\\\(["\\]\)/\1/g' <<<"$FOLDER")
  fi
  name=${WORDS[0]##*/} name=${name%.yaml}
  FOLDER=${FOLDER:-runs/${name%.yml}}
  if [[ $FOLDER != /* ]]; then FOLDER=./$FOLDER; fi # a name may begin with "-"
}

newest_checkpoint() {
  if [[ -d $FOLDER ]]; then find "$FOLDER" -maxdepth 1 -name 'checkpoint-*.h5' | sort -V | tail -n 1; fi
}

# mpirun sees a signal only through us. SIGUSR1 is the one that it passes on and then waits for the ranks; after a SIGTERM
# it kills them a second later, and a longer time-out of its own (odls_base_sigkill_timeout) would be waited for in full,
# twice, after every fault.
pass_on() { # SIGNAL
  INTERRUPTED=yes
  if [[ $1 == INT && -n $STOP_WANTED ]]; then
    kill -TERM "$MPIRUN" 2>/dev/null || true
  elif [[ -n $MPIRUN ]]; then
    kill -USR1 "$MPIRUN" 2>/dev/null || true
  fi
  STOP_WANTED=$1
}

# One run; sets CODE. setsid keeps the terminal's Ctrl-C away from mpirun, so that it reaches this script alone.
train() {
  # shellcheck disable=SC2086 # options are words
  setsid mpirun ${MPIRUN_OPTIONS:-} -n "$RANKS" "$LOCKSTEP" train "${WORDS[@]}" resume=auto </dev/null &
  MPIRUN=$!
  watch_launcher "$MPIRUN" &
  WATCH=$!
  if [[ -n $STOP_WANTED ]]; then kill -USR1 "$MPIRUN" 2>/dev/null || true; fi
  while :; do
    INTERRUPTED="" CODE=0
    wait "$MPIRUN" || CODE=$?
    if [[ -z $INTERRUPTED ]]; then break; fi # otherwise it was wait that a signal ended
  done
  kill "$WATCH" 2>/dev/null || true
  MPIRUN=""
}

is_fault() { # CODE
  case $1 in
    0 | 2 | 71 | 73 | 75 | 78) return 1 ;;
  esac
}

# Ranks whose mpirun was killed need a moment to notice, and one of them has the folder locked until then.
wait_for_lock() {
  if command -v flock >/dev/null && [[ -e $FOLDER/lock ]]; then flock -w 60 "$FOLDER/lock" true || true; fi
}

TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$TOP/launch/environment.sh"
LOCKSTEP=${LOCKSTEP:-$TOP/build/release/lockstep}
read_arguments "$@"
[[ -x $LOCKSTEP ]] || stop 2 "$LOCKSTEP: not there; launch/quickstart.sh builds it, or: cmake --workflow --preset release"
[[ -p ${WORDS[0]} ]] && stop 2 "${WORDS[0]}: a pipe, which can be read once; run.sh needs a file, to start again from"
mpi_environment
find_folder

MPIRUN="" STOP_WANTED="" INTERRUPTED=""
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

LAST=$(newest_checkpoint) FRUITLESS=0
while :; do
  train
  if [[ -n $STOP_WANTED ]] || ! is_fault "$CODE"; then exit "$CODE"; fi
  now=$(newest_checkpoint)
  if [[ $now != "$LAST" ]]; then LAST=$now FRUITLESS=0; fi
  if ((FRUITLESS == RESTARTS)); then
    stop "$CODE" "run.sh: ended with exit code $CODE; given up after $RESTARTS restarts without a new checkpoint"
  fi
  FRUITLESS=$((FRUITLESS + 1))
  echo "run.sh: ended with exit code $CODE; starting again from ${now:-the beginning}" \
    "(restart $FRUITLESS of $RESTARTS without a new checkpoint)" >&2
  sleep 1
  wait_for_lock
  if [[ -n $STOP_WANTED ]]; then exit "$CODE"; fi
done
