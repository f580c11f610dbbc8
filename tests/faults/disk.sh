#!/usr/bin/env bash
# Every file call that a run makes in its folder fails once with ENOSPC and once with EIO, and is once the last of its
# process, before and after it. A failure is told in one message with the path, exit code 74, and no temporary file is
# left; afterwards the run goes on to the bits of an undisturbed one. Without LOCKSTEP_FAULTS a part of the calls is taken,
# spread over the run: test_folder_faults takes all of them, at the level of one save.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

RUN=(steps=6 checkpoint_interval=2 keep=1)
STRIDE=$((SCALE > 1 ? 1 : 11))
ENOSPC=28 EIO=5
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0

# Sets FAILING to what runs the program with call AT struck.
failing() { # AT HOW
  FAILING=(env "LD_PRELOAD=$LOCKSTEP_FAILING_FILES" "FAILING_FILES_FOLDER=$WORK/run" "FAILING_FILES_AT=$1"
    "FAILING_FILES_HOW=$2" "FAILING_FILES_COUNT=$WORK/count" "$LOCKSTEP")
}

expect_report() { # FOLDER WHAT
  local errors
  ((CODE == 74)) || fail "$2: exit $CODE, expected 74" "$1"
  errors=$(grep -c 'error:' "$1.err" || true)
  ((errors == 1)) || fail "$2: $errors messages, expected one" "$1"
  grep -q "error: .*$1.*: " "$1.err" || fail "$2: the message does not name the path" "$1"
  if has_temporary "$1"; then fail "$2: a temporary file is left" "$1"; fi
}

# Goes on without faults, which ends the run as if nothing had been.
expect_recovery() { # FOLDER WHAT
  run_alone "$1" "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  if grep -q "passed over" "$1.err"; then fail "$2: left a bad checkpoint" "$1"; fi
  expect_equal "$1" "$2"
  rm -rf "$1"
}

make_reference "${RUN[@]}"
failing 0 0
run_alone "$WORK/run" "${FAILING[@]}" -- "${RUN[@]}"
expect_equal "$WORK/run" "a run whose file calls are counted"
rm -rf "$WORK/run"
CALLS=$(<"$WORK/count")
((CALLS > 40)) || fail "only $CALLS file calls were seen"

folder=$WORK/run failures=0 kills=0 unnoticed=0
for how in "$ENOSPC" "$EIO" kill tear; do
  for ((at = 1 + RANDOM % STRIDE; at <= CALLS; at += STRIDE)); do
    what="call $at of $CALLS, $how"
    failing "$at" "$how"
    run_alone "$folder" "${FAILING[@]}" -- "${RUN[@]}"
    case $how in
      kill | tear)
        ((CODE == 137)) || fail "$what: exit $CODE" "$folder"
        kills=$((kills + 1)) ;;
      *)
        if ((CODE == 0)); then # the lock's own close: nothing was written through it
          unnoticed=$((unnoticed + 1))
        else
          expect_report "$folder" "$what"
        fi
        failures=$((failures + 1)) ;;
    esac
    expect_recovery "$folder" "$what"
  done
done
((unnoticed <= 2)) || fail "$unnoticed failures were not reported"
echo "$CALLS file calls: $failures failures reported, $kills kills, every run recovered"

# The same with several ranks: they all stop, with one message.
for ((i = 0; i < 4 * SCALE; i++)); do
  at=$((10 + RANDOM % (CALLS - 12)))
  failing "$at" "$ENOSPC"
  run "$folder" 3 "${FAILING[@]}" -- "${RUN[@]}"
  expect_report "$folder" "3 ranks, call $at of $CALLS"
  expect_recovery "$folder" "3 ranks, call $at of $CALLS"
done

# A folder that cannot be written to at all, and one that is no folder.
if ((EUID != 0)); then
  mkdir -p "$folder" && chmod a-w "$folder"
  run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}"
  expect_report "$folder" "a read-only folder"
  chmod u+w "$folder" && rm -rf "$folder"
fi
: >"$folder"
run "$folder" 2 "$LOCKSTEP" -- "${RUN[@]}"
expect_report "$folder" "a file in the folder's place"
