# What the fault tests share. To be sourced by a script that CTest starts as SCRIPT WORK_FOLDER, with in the environment
# LOCKSTEP, LOCKSTEP_FAULTY, LOCKSTEP_FAILING_FILES (built files), LOCKSTEP_MADE_DATA (IDX files); LOCKSTEP_FAULTS
# multiplies the counts, LOCKSTEP_SEED is the seed of what is random (default: a fixed one).
# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this

WORK=$1
SCALE=${LOCKSTEP_FAULTS:-1}
SEED=${LOCKSTEP_SEED:-1}
RANDOM=$SEED
for tool in mpirun h5dump pgrep; do
  command -v "$tool" >/dev/null || { echo "skipped: no $tool" && exit 77; }
done

rm -rf "$WORK"
mkdir -p "$WORK"
SOURCES=$(dirname "${BASH_SOURCE[0]}")/../..
# shellcheck source-path=SCRIPTDIR source=../../launch/environment.sh
source "$SOURCES/launch/environment.sh"
# shellcheck source-path=SCRIPTDIR source=../words.bash
source "$SOURCES/tests/words.bash"

# Row 6 as published, with a network so small that a run is over in a moment. 17 steps an epoch.
CONFIG=$WORK/small.yaml
cat >"$CONFIG" <<END
base: $(realpath "$SOURCES")/experiments/table1/row6-published.yaml
split: 1700
batch: 100
network:
  - flatten
  - batchnorm
  - dense: {units: 16}
  - batchnorm
  - relu
  - dropout
  - dense: {units: 10}
END
SETTINGS=("$CONFIG" "data=$LOCKSTEP_MADE_DATA" check_interval=1 trail_interval=1 progress=none)

# Only processes that this script started are ever signalled: the children of one of its mpiruns, kept here so that they
# end with the script whatever happens.
STARTED=()
end_started() {
  local pid
  for pid in "${STARTED[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
  done
}
trap end_started EXIT

fail() { # MESSAGE [FOLDER]: with what the last run in FOLDER said
  echo "FAILED (seed $SEED): $1" >&2
  if [[ -n ${2:-} ]]; then tail -n 30 "$2.out" "$2.err" >&2 || true; fi
  exit 1
}

# After a death mpirun ends the others by SIGTERM, and after this many seconds, twice over, by SIGKILL.
LAUNCHER=(--mca odls_base_sigkill_timeout 0)

# Starts a run in FOLDER (its words go to FOLDER.out and FOLDER.err) and sets MPIRUN to the launcher.
start() { # FOLDER RANKS PROGRAM.. -- SETTINGS..
  local folder=$1 ranks=$2 program=()
  shift 2
  while [[ $1 != -- ]]; do program+=("$1") && shift; done
  shift
  latest_words "${SETTINGS[@]}" "output=$folder" "$@"
  mpirun "${LAUNCHER[@]}" -n "$ranks" "${program[@]}" train "${WORDS[@]}" \
    >"$folder.out" 2>"$folder.err" </dev/null &
  MPIRUN=$! LAUNCHED=yes
  STARTED=("$MPIRUN")
}

# Waits for a run and sets CODE to its exit code. A launcher that does not end is ended, and LAUNCHERS_ENDED counts it: then
# CODE is 137, and whether the ranks did right is seen all the same.
LAUNCHERS_ENDED=0
finish() {
  local watch=""
  if [[ -n $LAUNCHED ]]; then
    watch_launcher "$MPIRUN" 2>"$WORK/launcher" &
    watch=$!
  fi
  CODE=0
  wait "$MPIRUN" 2>/dev/null || CODE=$?
  if [[ -z $watch ]]; then return; fi
  kill "$watch" 2>/dev/null || true
  wait "$watch" 2>/dev/null || true
  if [[ -s $WORK/launcher ]]; then LAUNCHERS_ENDED=$((LAUNCHERS_ENDED + 1)); fi
}

# Sets RANK_PIDS to the processes of the run, by rank, once all of them are there; they add to STARTED.
find_ranks() { # RANKS
  local pid rank deadline=$((SECONDS + 20))
  while ((SECONDS < deadline)); do
    RANK_PIDS=()
    for pid in $(pgrep -P "$MPIRUN" || true); do
      rank=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') || continue
      if [[ -n $rank ]]; then RANK_PIDS[rank]=$pid; fi
    done
    if ((${#RANK_PIDS[@]} == $1)); then
      STARTED=("$MPIRUN" "${RANK_PIDS[@]}")
      return 0
    fi
    kill -0 "$MPIRUN" 2>/dev/null || return 1
    sleep 0.01
  done
  return 1
}

# Are all processes of the run gone within SECONDS?
all_gone() { # SECONDS
  local pid deadline=$((SECONDS + $1)) left
  while :; do
    left=""
    for pid in "${RANK_PIDS[@]}"; do
      if [[ $(ps -o stat= -p "$pid" || true) == [^Z]* ]]; then left+=" $pid"; fi
    done
    if [[ -z $left ]]; then return 0; fi
    if ((SECONDS >= deadline)); then return 1; fi
    sleep 0.05
  done
}

# Runs to the end; sets CODE.
run() { # FOLDER RANKS PROGRAM.. -- SETTINGS..
  start "$@"
  finish
}

# The same by one process without a launcher, which is much faster.
run_alone() { # FOLDER PROGRAM.. -- SETTINGS..
  local folder=$1 program=()
  shift
  while [[ $1 != -- ]]; do program+=("$1") && shift; done
  shift
  latest_words "${SETTINGS[@]}" comm=self "output=$folder" "$@"
  "${program[@]}" train "${WORDS[@]}" >"$folder.out" 2>"$folder.err" </dev/null &
  MPIRUN=$! LAUNCHED=""
  STARTED=("$MPIRUN")
  finish
}

newest() { # FOLDER
  find "$1" -maxdepth 1 -name 'checkpoint-*.h5' 2>/dev/null | sort -V | tail -n 1
}

has_checkpoint() { # FOLDER
  compgen -G "$1/checkpoint-*.h5" >/dev/null
}

has_temporary() { # FOLDER
  compgen -G "$1/*.tmp-*" >/dev/null
}

# Everything that a run measured and the state that it ended with, as text, without what depends on time. h5diff would not
# do: it passes over arrays of different length.
content() { # FOLDER
  local last
  last=$(newest "$1")
  basename "$last"
  h5dump -m %.17g -g /step -g /epoch -g /trail -g /tests -g /test -g /config "$1/metrics.h5" | tail -n +2
  h5dump -m %.17g -g /model -g /optimizer -g /batchnorm -g /progress -g /history "$last" | tail -n +2
  grep -a '^fingerprint' "$1.out"
}

# Is the run in FOLDER, which has ended well, that of the reference to the bit?
expect_equal() { # FOLDER WHAT
  ((CODE == 0)) || fail "$2: exit $CODE" "$1"
  content "$1" >"$1.content"
  cmp -s "$WORK/reference.content" "$1.content" ||
    fail "$2: differs from the uninterrupted run: $(diff "$WORK/reference.content" "$1.content" | head -n 4)" "$1"
  if has_temporary "$1"; then fail "$2: temporary files are left: $(ls "$1")"; fi
}

make_reference() { # SETTINGS..
  rm -rf "$WORK/reference"
  run_alone "$WORK/reference" "$LOCKSTEP" -- "$@"
  ((CODE == 0)) || fail "the reference: exit $CODE" "$WORK/reference"
  content "$WORK/reference" >"$WORK/reference.content"
  (($(wc -l <"$WORK/reference.content") > 200)) || fail "the reference holds nothing"
  echo "seed $SEED; uninterrupted: $(tail -n 1 "$WORK/reference.content")"
}
