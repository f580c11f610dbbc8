#!/usr/bin/env bash
# The whole program on an emulated GPU (tests/cuda): the bits of the CPU on any number of ranks that share it, and what
# goes wrong ends as on the CPU.
#
#   cuda.sh WORK_FOLDER bits|resume|faults|room|memory
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
PART=$2

# 3 steps an epoch.
SETTINGS+=(split=100 batch=40 eval_batch=40 augment=0.5 checkpoint_interval=1)

# The CPU's portable instructions have no fused multiply-add: bits of their own.
if "$LOCKSTEP" --version | grep -q 'instructions portable'; then
  echo "skipped: no AVX2" && exit 77
fi

# A network on the CPU, then on the GPU, alone and shared.
same_bits() { # NAME RANKS SETTINGS..
  local name=$1 ranks=$2
  shift 2
  make_reference device=cpu "$@"
  run_alone "$WORK/$name" "$LOCKSTEP" -- device=cuda "$@"
  expect_equal "$WORK/$name" "$name, one rank"
  for n in $ranks; do
    run "$WORK/$name-$n" "$n" "$LOCKSTEP" -- device=cuda "$@"
    expect_equal "$WORK/$name-$n" "$name, $n ranks"
  done
  echo "$name: the CPU's bits on 1 $ranks ranks: $(grep -a '^fingerprint' "$WORK/$name.out")"
}

bits() {
  local name
  same_bits small "2 3 4" epochs=2
  for order in reverse 7; do # of threads and blocks
    LOCKSTEP_EMULATED_ORDER=$order run_alone "$WORK/$order" "$LOCKSTEP" -- device=cuda epochs=2
    expect_equal "$WORK/$order" "small, order $order"
  done
  run_alone "$WORK/unrecorded" "$LOCKSTEP" -- device=cuda epochs=2 record=off
  expect_equal "$WORK/unrecorded" "small, not recorded"
  run_alone "$WORK/unfused" "$LOCKSTEP" -- device=cuda epochs=2 fuse=false
  expect_equal "$WORK/unfused" "small, unfused"
  for name in eval attack; do # of the checkpoint, by the CPU and by the GPU
    for device in cpu cuda; do
      "$LOCKSTEP" "$name" "$(newest "$WORK/unfused")" "data=$LOCKSTEP_MADE_DATA" comm=self device=$device --json \
        >"$WORK/$name-$device.json" 2>"$WORK/$name-$device.err" || fail "$name device=$device: $(cat "$WORK/$name-$device.err")"
    done
    cmp "$WORK/$name-cpu.json" "$WORK/$name-cuda.json" || fail "$name: the GPU finds something else"
  done
  SETTINGS[0]=$SOURCES/experiments/table1/row6-published.yaml
  same_bits row6 2 steps=2
}

# Stopped in the middle of an epoch on one device, gone on with on the other.
resume() {
  make_reference device=cpu epochs=3
  local first second
  for first in cpu cuda; do
    if [[ $first == cpu ]]; then second=cuda; else second=cpu; fi
    run "$WORK/$first" 2 env FAULTY=signal:1:5 "$LOCKSTEP_FAULTY" -- device=$first epochs=3
    ((CODE == 75)) || fail "stopped on $first: exit $CODE, expected 75" "$WORK/$first"
    [[ $(newest "$WORK/$first") == */checkpoint-5.h5 ]] || fail "stopped on $first: no checkpoint of step 5" "$WORK/$first"
    run_alone "$WORK/$first" "$LOCKSTEP" -- device=$second epochs=3 resume=auto
    expect_equal "$WORK/$first" "from $first to $second"
  done
  # steps are begun ahead where nobody looks at the state in between; those that the signal finds begun are taken
  run_alone "$WORK/signal" env FAULTY=signal:0:2 "$LOCKSTEP_FAULTY" -- device=cuda epochs=3 checkpoint_interval=0 batch=10
  ((CODE == 75)) || fail "one rank, stopped: exit $CODE, expected 75" "$WORK/signal"
  [[ $(newest "$WORK/signal") == */checkpoint-[2-9].h5 ]] || fail "one rank, stopped: not within an epoch" "$WORK/signal"
  make_reference device=cpu epochs=3 checkpoint_interval=0 batch=10
  run_alone "$WORK/signal" "$LOCKSTEP" -- device=cuda epochs=3 checkpoint_interval=0 batch=10 resume=auto
  expect_equal "$WORK/signal" "stopped with steps begun ahead"
  echo "from one device to the other in the middle of an epoch: the bits of an uninterrupted run"
}

faults() {
  local since folder said
  # a rank that is ahead of the others, or silent
  since=$SECONDS
  run "$WORK/skip" 3 env FAULTY=skip:1:2 "$LOCKSTEP_FAULTY" -- device=cuda epochs=3 timeout=2
  ((CODE == 76)) || fail "a rank that skips a collective: exit $CODE, expected 76" "$WORK/skip"
  grep -q "error: rank . has waited .*for rank 1" "$WORK/skip.err" || fail "the rank is not named" "$WORK/skip"
  ((SECONDS - since <= 30)) || fail "took too long" "$WORK/skip"
  start "$WORK/stop" 2 "$LOCKSTEP" -- device=cuda epochs=100000 timeout=2
  find_ranks 2 || fail "no ranks" "$WORK/stop"
  until has_checkpoint "$WORK/stop"; do
    kill -0 "$MPIRUN" 2>/dev/null || fail "ended by itself" "$WORK/stop"
    sleep 0.01
  done
  kill -STOP "${RANK_PIDS[1]}"
  finish
  ((CODE == 76)) || fail "a silent rank: exit $CODE, expected 76" "$WORK/stop"
  grep -q "for rank 1, which is silent" "$WORK/stop.err" || fail "the silent rank is not named" "$WORK/stop"
  # flipped bits in the memory of the device: in what the check finds, and what the next update does
  for arena in value moment1 moment2 statistics; do
    folder=$WORK/flip-$arena said="the parameters or moments that rank 1 updates have changed"
    if [[ $arena == statistics ]]; then said="rank 1 does not hold what the other 2 hold"; fi
    run "$folder" 3 env "FAULTY=flip:1:2:$arena:4711" "$LOCKSTEP_FAULTY" -- device=cuda epochs=2
    ((CODE == 79)) || fail "a flipped bit of $arena: exit $CODE, expected 79" "$folder"
    grep -q "step 2: .*$said" "$folder.err" || fail "a flipped bit of $arena: not said" "$folder"
  done
  run_alone "$WORK/spoil" env FAULTY=spoil:0:3:value:4711 "$LOCKSTEP_FAULTY" -- device=cuda epochs=3 check_interval=1000 checkpoint_interval=0
  ((CODE == 79)) || fail "a bit that flips between two steps: exit $CODE, expected 79" "$WORK/spoil"
  # no driver, no GPU: said, with device=auto too, which trains
  make_reference device=cpu epochs=1
  for devices in -1 0; do
    said="no usable NVIDIA driver"
    if ((devices == 0)); then said="no NVIDIA GPU is visible"; fi
    LOCKSTEP_EMULATED_DEVICES=$devices run_alone "$WORK/absent$devices" "$LOCKSTEP" -- device=cuda
    ((CODE == 70)) || fail "no device: exit $CODE, expected 70" "$WORK/absent$devices"
    grep -q "error: device=cuda: $said" "$WORK/absent$devices.err" || fail "no device: not said" "$WORK/absent$devices"
    LOCKSTEP_EMULATED_DEVICES=$devices run_alone "$WORK/auto$devices" "$LOCKSTEP" -- device=auto epochs=1 progress=line
    grep -q "device cpu: $said" "$WORK/auto$devices.out" || fail "device=auto: not said" "$WORK/auto$devices"
    expect_equal "$WORK/auto$devices" "device=auto without one"
  done
  run_alone "$WORK/fp64" "$LOCKSTEP" -- device=cuda precision=fp64
  ((CODE == 2)) || fail "fp64: exit $CODE, expected 2" "$WORK/fp64"
  LOCKSTEP_EMULATED_CAPABILITY=75 run_alone "$WORK/tf32" "$LOCKSTEP" -- device=cuda precision=tf32
  ((CODE == 2)) || fail "tf32 without tensor cores: exit $CODE, expected 2" "$WORK/tf32"
  grep -q "compute capability 8.0" "$WORK/tf32.err" || fail "tf32 without tensor cores: not said" "$WORK/tf32"
  run_alone "$WORK/tf32-cpu" "$LOCKSTEP" -- device=cpu precision=tf32
  ((CODE == 2)) || fail "tf32 on the CPU: exit $CODE, expected 2" "$WORK/tf32-cpu"
  grep -q "tensor cores of a GPU alone" "$WORK/tf32-cpu.err" || fail "tf32 on the CPU: not said" "$WORK/tf32-cpu"
  echo "stuck ranks, flipped bits, no device: as on the CPU"
}

# What does not fit on the device is refused, with the number that inspect prints and what is free; what fits runs.
room() {
  local needed ranks said
  local huge=("network=[flatten, {dense: {units: 6000}}, {dense: {units: 10}}]" batch=20000)
  latest_words "${SETTINGS[@]}" "${huge[@]}" device=cuda
  said=$(LOCKSTEP_EMULATED_MEMORY=200 "$LOCKSTEP" inspect "${WORDS[@]}")
  grep -q '^emulated GPU, 0000:00:00.0: 200 of 200 MiB are free$' <<<"$said" || fail "inspect does not say what is free: $said"
  for ranks in 1 2; do
    needed=$(awk -v ranks=$ranks '/^ *ranks /{table = 1} table && $1 == ranks {printf "%.0f", ranks * $7}' <<<"$said")
    LOCKSTEP_EMULATED_MEMORY=200 run "$WORK/room$ranks" $ranks "$LOCKSTEP" -- device=cuda "${huge[@]}"
    ((CODE == 70)) || fail "too large, $ranks ranks: exit $CODE, expected 70" "$WORK/room$ranks"
    (($(grep -c 'error:' "$WORK/room$ranks.err") == 1)) || fail "too large, $ranks ranks: expected one message" "$WORK/room$ranks"
    grep -qE "error: the network needs [0-9]+ MiB on emulated GPU, 0000:00:00.0 \($ranks rank.*has 200 MiB free: .*memory=ignore" \
      "$WORK/room$ranks.err" || fail "too large, $ranks ranks: not said" "$WORK/room$ranks"
    grep -qE "needs ($((needed - 1))|$needed|$((needed + 1))) MiB" "$WORK/room$ranks.err" || fail "inspect says $needed MiB" "$WORK/room$ranks"
  done
  LOCKSTEP_EMULATED_MEMORY=200 run_alone "$WORK/ignore" "$LOCKSTEP" -- device=cuda "${huge[@]}" memory=ignore
  ((CODE == 70)) || fail "memory=ignore: exit $CODE, expected 70" "$WORK/ignore"
  grep -q "error: CUDA: no [0-9]* bytes for" "$WORK/ignore.err" || fail "memory=ignore: not tried" "$WORK/ignore"
  said=$(LOCKSTEP_EMULATED_DEVICES=0 "$LOCKSTEP" inspect "${WORDS[@]}")
  grep -q "^no device was found: no NVIDIA GPU is visible" <<<"$said" || fail "inspect without a device: $said"
  [[ $(awk '/^ *ranks /{table = 1} table && $1 == 2 {printf "%.0f", 2 * $7}' <<<"$said") == "$needed" ]] ||
    fail "inspect without a device: other numbers: $said"
  # the count is what a run allocates: one with that much and a little more, which cudaMalloc rounds to, trains
  needed=$("$LOCKSTEP" inspect "${SETTINGS[@]}" device=cuda | awk '/^ *ranks /{table = 1} table && $1 == 1 {printf "%d", $7 + 1}')
  LOCKSTEP_EMULATED_MEMORY=$((needed + 1)) run_alone "$WORK/fits" "$LOCKSTEP" -- device=cuda epochs=1 steps=1
  ((CODE == 0)) || fail "what fits, by $needed MiB, does not train: exit $CODE" "$WORK/fits"
  echo "what a device has no room for: refused, with both numbers; $needed MiB are enough for what is said to need them"
}

# Every allocation of the device's memory, and of page-locked memory, fails once.
memory() {
  local n failed=0
  make_reference device=cpu epochs=1 steps=1
  for ((n = 0; n < 1000; n++)); do
    rm -rf "$WORK/run"
    LOCKSTEP_EMULATED_FAIL=$n run_alone "$WORK/run" "$LOCKSTEP" -- device=cuda epochs=1 steps=1
    if ((CODE == 0)); then break; fi
    ((CODE == 70)) || fail "allocation $n fails: exit $CODE, expected 70" "$WORK/run"
    (($(grep -c 'error:' "$WORK/run.err") == 1)) || fail "allocation $n fails: expected one message" "$WORK/run"
    grep -q "error: CUDA: no [0-9]* bytes\|error: device=cuda: CUDA: no [0-9]* bytes" "$WORK/run.err" || fail "allocation $n fails: not said" "$WORK/run"
    failed=$((failed + 1))
  done
  expect_equal "$WORK/run" "after $n failures"
  ((failed > 20)) || fail "only $failed allocations"
  # of one rank of two
  LOCKSTEP_EMULATED_FAIL=$((failed / 2)) run "$WORK/two" 2 "$LOCKSTEP" -- device=cuda epochs=1 steps=1
  ((CODE == 70)) || fail "two ranks: exit $CODE, expected 70" "$WORK/two"
  echo "$failed allocations, each failed once: named, exit 70"
}

case $PART in
  bits) bits ;;
  resume) resume ;;
  faults) faults ;;
  room) room ;;
  memory) memory ;;
  *) fail "no part $PART" ;;
esac
