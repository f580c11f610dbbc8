#!/usr/bin/env bash
# Does the promise hold on this machine? Trains on 1, 2, 3 and 4 ranks, and stopped and resumed, and compares every bit.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/verify.sh [--steps N] CONFIG [KEY=VALUE ...]

Trains the configuration for N steps (default 200) on 1, 2, 3 and 4 ranks, and once more on 2 ranks, stopped on the way by
a signal and resumed on 3. Compares fingerprints of all tensors after each step, losses and accuracies with
`lockstep diff`, and prints a table and a verdict. Exit codes: 0 all equal, 1 a difference, others as README's list.

  KEY=VALUE       any key of the configuration, such as data=FOLDER or threads=2; the keys that this script sets itself
                  (output, overwrite, steps, epochs, resume, trail_interval, checkpoint_interval, progress) are refused

The runs are left in runs/verify, or in LOCKSTEP_VERIFY_FOLDER. LOCKSTEP=PROGRAM instead of build/release/lockstep.
END
}

read_arguments() {
  STEPS=200 WORDS=()
  while (($#)); do
    case $1 in
      -h | --help) usage && exit 0 ;;
      --steps)
        [[ ${2:-} =~ ^[1-9][0-9]{0,8}$ ]] || { usage >&2 && exit 2; }
        STEPS=$2
        shift ;;
      -* | output=* | overwrite=* | steps=* | epochs=* | resume=* | trail_interval=* | checkpoint_interval=* | progress=*)
        usage >&2 && exit 2 ;;
      *) WORDS+=("$1") ;;
    esac
    shift
  done
  ((${#WORDS[@]} > 0)) || { usage >&2 && exit 2; }
}

# Starts a run in the background; MPIRUN is its launcher.
start() { # NAME RANKS SETTINGS..
  local name=$1 ranks=$2
  shift 2
  # epochs: the steps are to be the limit
  setsid mpirun -n "$ranks" "$LOCKSTEP" train "${WORDS[@]}" "output=$FOLDER/$name" "steps=$STEPS" epochs=1000000 \
    trail_interval=1 checkpoint_interval=0 progress=none "$@" >"$FOLDER/$name.out" 2>"$FOLDER/$name.err" </dev/null &
  MPIRUN=$!
}

# Waits for it; sets CODE.
finish() {
  CODE=0
  wait "$MPIRUN" || CODE=$?
  MPIRUN=""
}

expect() { # CODE NAME
  if ((CODE == $1)); then return 0; fi
  cat "$FOLDER/$2.err" >&2
  stop "$CODE" "verify.sh: $2 ended with exit code $CODE, expected $1"
}

row() { # RUN SECONDS NAME VERDICT
  printf '%-34s %8s  %-16s  %s\n' "$1" "$2" "$(sed -n 's/^fingerprint //p' "$FOLDER/$3.out")" "$4"
}

# Compares a run with that of one rank and prints its row.
compare() { # NAME RUN SECONDS
  local status=0
  "$LOCKSTEP" diff "$FOLDER/ranks-1" "$FOLDER/$1" >"$FOLDER/$1.diff" 2>&1 || status=$?
  case $status in
    0) row "$2" "$3" "$1" "equal" ;;
    1) row "$2" "$3" "$1" "DIFFERENT"
      { grep -m 1 ' first at step ' "$FOLDER/$1.diff" || head -n 1 "$FOLDER/$1.diff"; } | sed 's/^/    /'
      DIFFERENT=$((DIFFERENT + 1)) ;;
    *) cat "$FOLDER/$1.diff" >&2
      stop "$status" "verify.sh: the comparison of $1 failed" ;;
  esac
}

# Stops a run on 2 ranks after part of the time that it takes; earlier where that was too late. Sets STOPPED to the step.
stop_on_the_way() { # SECONDS
  local pause=$1
  while :; do
    rm -f "$FOLDER/resumed/config.yaml" # of an earlier time
    start resumed 2 overwrite=true resume=none
    # from here on the run can be stopped
    until [[ -e $FOLDER/resumed/config.yaml ]] || ! kill -0 "$MPIRUN" 2>/dev/null; do sleep 0.01; done
    sleep "$pause"
    kill -USR1 "$MPIRUN" 2>/dev/null || true
    finish
    if ((CODE == 75)); then break; fi
    expect 0 resumed
    if [[ $pause == 0 ]]; then stop 1 "verify.sh: $STEPS steps are too few to be stopped on the way; give more (--steps)"; fi
    pause=$((pause / 4))
  done
  STOPPED=$(sed -n 's/.*stopped on request after step \([0-9]*\),.*/\1/p' "$FOLDER/resumed.err" | head -n 1)
}

end_run() {
  if [[ -n $MPIRUN ]]; then kill -TERM "$MPIRUN" 2>/dev/null || true; fi
}

TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$TOP/launch/environment.sh"
LOCKSTEP=${LOCKSTEP:-$TOP/build/release/lockstep}
FOLDER=${LOCKSTEP_VERIFY_FOLDER:-runs/verify}
read_arguments "$@"
[[ -x $LOCKSTEP ]] || stop 2 "$LOCKSTEP: not there; launch/quickstart.sh builds it, or: cmake --workflow --preset release"
[[ -p ${WORDS[0]} ]] && stop 2 "${WORDS[0]}: a pipe, which can be read once; verify.sh trains several times"
mpi_environment
if [[ $FOLDER != /* ]]; then FOLDER=./$FOLDER; fi # a name may begin with "-"
mkdir -p -- "$FOLDER"
MPIRUN="" DIFFERENT=0
trap end_run EXIT

printf '%-34s %8s  %-16s  %s\n' "$STEPS steps of ${WORDS[0]##*/}" seconds fingerprint "compared with 1 rank"
for ranks in 1 2 3 4; do
  begin=$SECONDS
  start "ranks-$ranks" "$ranks" overwrite=true resume=none
  finish
  expect 0 "ranks-$ranks"
  took=$((SECONDS - begin))
  if ((ranks == 2)); then usual=$took; fi
  if ((ranks == 1)); then row "1 rank" "$took" ranks-1 reference; else compare "ranks-$ranks" "$ranks ranks" "$took"; fi
done
begin=$SECONDS
stop_on_the_way $((usual / 3))
start resumed 3 resume=auto
finish
expect 0 resumed
compare resumed "2 ranks, from step $STOPPED on 3 ranks" $((SECONDS - begin))

if ((DIFFERENT > 0)); then stop 1 "DIFFERENT: $DIFFERENT of 4 runs are not equal to the run on 1 rank; see $FOLDER and its *.diff"; fi
echo "Equal: the same bits after every step on 1, 2, 3 and 4 ranks, and stopped and resumed."
