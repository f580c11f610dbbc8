#!/usr/bin/env bash
# Failures of one rank and of all: everybody ends, one message, the code says why.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
SANITIZED=${4#sanitize=}

# --- one rank alone fails: the message names it

# Each runs on every rank and does something to rank 1 only.
# shellcheck disable=SC2016
on_rank_1='if [[ $OMPI_COMM_WORLD_RANK == 1 ]]; then '
WRAP=(bash -c "$on_rank_1"'set -- "$@" lr=abc; fi; exec "$@"' wrapper)
expect_failure 2 "rank 1: command line: lr=abc" 3 train "${SMALL[@]}" output=apart
WRAP=(bash -c "$on_rank_1"'set -- "$@" lr=0.01; fi; exec "$@"' wrapper)
expect_failure 2 "rank 1: this rank reads another configuration than rank 0" 3 train "${SMALL[@]}" output=apart
check "no run was begun" test ! -e apart
if [[ -z $SANITIZED ]]; then # sanitizers need terabytes of addresses
  # Not enough memory for a network that rank 0 and 2 have memory for; MPI itself has what it needs.
  WRAP=(bash -c "$on_rank_1"'ulimit -v 400000; fi; exec "$@"' wrapper)
  expect_failure 70 "rank 1: out of memory: " 3 train "${SMALL[@]}" output=apart network.2.dense.units=10000 \
    window=false
  check "no run was begun" test ! -e apart
fi

# --- one rank is killed in mid-run, once there is something to read

# shellcheck disable=SC2016
WRAP=(bash -c "$on_rank_1"'(while [[ ! -e killed/metrics.h5 ]]; do sleep 0.1; done
  sleep 0.3; kill -KILL $$) & fi; exec "$@"' wrapper)
run 3 train "${SMALL[@]}" epochs=100000 output=killed progress=none
check "a killed rank ends all with a code: $CODE" test "$CODE" != 0 -a "$CODE" != 124
check "no fingerprint" test -z "$(fingerprint)"
check "nothing is left running" test -z "$(left_running)"
check "the metrics so far can be read" h5dump -H killed/metrics.h5
WRAP=()

# --- numbers that are not finite: the same step on any number of ranks

# lr / t^p with the configuration's p = 0.2: 1000 / 6^0.2
for ranks in - 1 3; do
  expect_failure 71 "step 6: the loss is not finite (lr=698.827)" $ranks \
    train "${SMALL[@]}" output="diverged$ranks" progress=none optimizer=sgd weight_decay=1e6 lr=1000
  check "no checkpoint of it" test -z "$(find "diverged$ranks" -name 'checkpoint*')"
done

# --- more threads than cores: one warning from all ranks together, and the same result

expect_success "" - train "${SMALL[@]}" output=reference progress=none
REFERENCE=$(fingerprint)
check "a fingerprint" test -n "$REFERENCE"
expect_success "warning: threads=250, but rank 0 may use" - train "${SMALL[@]}" output=threads progress=none threads=250
check "250 threads, the same result" test "$(fingerprint)" = "$REFERENCE"
expect_success "warning: threads=100, but rank " 3 train "${SMALL[@]}" output=threads3 progress=none threads=100 steps=7
check "3 ranks of 100 threads, the same result" test "$(fingerprint)" = "$REFERENCE"

# --- nobody reads the output: the run goes on

CODE=0
"$BINARY" train "${SMALL[@]}" output=full >/dev/full 2>err || CODE=$?
check "a full disk behind the output: code $CODE" test $CODE = 0
check "one warning" test "$(cat err)" = "lockstep: warning: standard output cannot be written"
CODE=0
"$BINARY" train "${SMALL[@]}" output=closed >&- 2>err || CODE=$?
check "closed output: code $CODE" test $CODE = 0
CODE=0
"$BINARY" train "${SMALL[@]}" output=silent >out 2>&- <&- || CODE=$?
check "closed standard error: code $CODE" test "$CODE:$(fingerprint)" = "0:$REFERENCE"
"$BINARY" train "${SMALL[@]}" output=left 2>err | head -n 1 >out
for name in full closed silent left; do
  check "$name: the checkpoint is as ever" \
    h5diff --exclude-path /provenance reference/checkpoint-7.h5 "$name/checkpoint-7.h5"
done
finish
