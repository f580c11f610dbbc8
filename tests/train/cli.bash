# What the scripts cli_*.sh share: cases of the program's command line, each with its exit code and its message.
# shellcheck shell=bash
#
# A script is called with BINARY WORK_FOLDER [DATA], sources this file, states cases and ends with `finish`.
# RANKS is "-" for a run without mpirun, else the number of ranks.
set -euo pipefail

BINARY=$1 WORK=$2 DATA=${3:-}
TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/../..")
ROW6=$TOP/experiments/table1/row6-published.yaml
# Seven steps of row 6 on the small set.
# shellcheck disable=SC2034
SMALL=("$ROW6" "data=$DATA" split=1700 epochs=1)
CASES=0 FAILED=0
for tool in mpirun h5dump h5diff; do
  command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
# shellcheck source-path=SCRIPTDIR source=../words.bash
source "$TOP/tests/words.bash"
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"
# Processes of this script carry this word, so that those it leaves behind can be found.
MARK=lockstep-cli-$$

failed() { # WHAT..
  FAILED=$((FAILED + 1))
  echo "FAILED: $*"
  sed 's/^/  stdout: /' out | tail -n 5
  sed 's/^/  stderr: /' err | tail -n 12
}

# Runs; leaves CODE, out, err. WRAP, an array, stands between mpirun and the binary. A later KEY=VALUE replaces an earlier one.
WRAP=()
run() { # RANKS ARGUMENTS..
  local launcher=()
  [[ $1 == - ]] || launcher=(mpirun -n "$1")
  shift
  CODE=0
  latest_words "$@"
  CLI_MARK=$MARK timeout 120 "${launcher[@]}" "${WRAP[@]}" "$BINARY" "${WORDS[@]}" >out 2>err </dev/null || CODE=$?
  CASES=$((CASES + 1))
}

# Which processes of this script still run? A helper of Open MPI's may take a moment to end.
left_running() {
  local tries found=
  for tries in {1..30}; do
    found=$(grep -lzxs "CLI_MARK=$MARK" /proc/[0-9]*/environ || true)
    [[ -n $found ]] || return 0
    sleep 0.1
  done
  echo "$found after $tries tries"
}

# The code is as expected, and standard error holds exactly one message of ours, with this text.
expect_failure() { # CODE TEXT RANKS ARGUMENTS..
  local code=$1 text=$2
  shift 2
  run "$@"
  local messages
  messages=$(grep '^lockstep: ' err || true)
  if [[ $CODE != "$code" ]]; then
    failed "$*: exit code $CODE, expected $code"
  elif [[ $messages != *"error: "* || $messages == *$'\n'* ]]; then
    failed "$*: expected one message"
  elif [[ $messages != *"$text"* ]]; then
    failed "$*: expected '$text'"
  elif [[ -n $(left_running) ]]; then
    failed "$*: something still runs"
  fi
}

# Ends well, and says nothing on standard error, or only what WARNING says.
expect_success() { # WARNING RANKS ARGUMENTS..
  local warning=$1 said
  shift
  run "$@"
  said=$(cat err)
  if [[ $CODE != 0 ]]; then
    failed "$*: exit code $CODE"
  elif [[ $said != *"$warning"* || $said == *$'\n'* || (-z $warning && -n $said) ]]; then
    failed "$*: expected '$warning' on standard error"
  elif [[ -n $(left_running) ]]; then
    failed "$*: something still runs"
  fi
}

# A condition on what the last run left.
check() { # WHAT COMMAND..
  local what=$1
  shift
  "$@" >check.out 2>&1 || failed "$what"
}

fingerprint() { # of the last run: its last line, or nothing
  tail -n 1 out | sed -nE 's/^fingerprint ([0-9a-f]{16})$/\1/p'
}

# Everything about the files below a folder that a run could change.
snapshot() { # FOLDER
  find "$1" -printf '%p %y %s %T@ %i\n' -type f -exec md5sum {} + | sort
}

finish() {
  echo "$CASES cases, $FAILED failed"
  ((CASES > 0 && FAILED == 0))
}
