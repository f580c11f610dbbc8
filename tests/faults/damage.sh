#!/usr/bin/env bash
# The newest checkpoint is damaged, a bit or its length: it is refused, that is said, and the one before it is gone on from,
# to the same bits. With no good one left: exit 78, and nothing in the folder changes.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

RUN=(steps=12 checkpoint_interval=4 keep=3)
FLIPS=$((24 * SCALE)) CUTS=$((8 * SCALE))

flip_bit() { # FILE BIT
  local byte
  byte=$(od -An -tu1 -j $(($2 / 8)) -N 1 "$1")
  printf '%b' "\\x$(printf %02x $((byte ^ 1 << $2 % 8)))" | dd of="$1" bs=1 seek=$(($2 / 8)) conv=notrunc status=none
}

copy_reference() {
  rm -rf "$WORK/run"
  cp -r "$WORK/stopped" "$WORK/run"
  chmod -R u+w "$WORK/run"
}

random() { # BELOW
  echo $(((RANDOM << 30 | RANDOM << 15 | RANDOM) % $1))
}

expect_fallback() { # WHAT
  run_alone "$WORK/run" "$LOCKSTEP" -- "${RUN[@]}" resume=auto --verbose
  grep -q "passed over: .*$(basename "$NEWEST"): " "$WORK/run.err" || fail "$1: not said" "$WORK/run"
  expect_equal "$WORK/run" "$1"
}

digest() { # FOLDER
  (cd "$1" && sha256sum -- *)
}

make_reference "${RUN[@]}"
run_alone "$WORK/stopped" "$LOCKSTEP" -- "${RUN[@]}" steps=9
((CODE == 0)) || fail "the first part: exit $CODE" "$WORK/stopped"
NEWEST=$(newest "$WORK/stopped")
SIZE=$(stat -c %s "$NEWEST")
[[ $NEWEST == */checkpoint-9.h5 ]] || fail "the newest checkpoint is $NEWEST"

for ((i = 0; i < FLIPS; i++)); do
  # a few in the seal, which stands in front
  bit=$(random $((i % 4 ? 8 * SIZE : 8 * 64)))
  copy_reference
  flip_bit "$WORK/run/checkpoint-9.h5" "$bit"
  expect_fallback "bit $bit flipped"
done
for ((i = 0; i < CUTS; i++)); do
  length=$(random "$SIZE")
  if ((i == 0)); then length=0; fi
  copy_reference
  truncate -s "$length" "$WORK/run/checkpoint-9.h5"
  expect_fallback "cut to $length of $SIZE bytes"
done
copy_reference
printf x >>"$WORK/run/checkpoint-9.h5"
expect_fallback "a byte too long"

copy_reference
for file in "$WORK"/run/checkpoint-*.h5; do flip_bit "$file" $((8 * 4000)); done
digest "$WORK/run" >"$WORK/before"
for ranks in 1 2; do
  run "$WORK/run" "$ranks" "$LOCKSTEP" -- "${RUN[@]}" resume=auto
  ((CODE == 78)) || fail "all bad: exit $CODE, expected 78" "$WORK/run"
  (($(grep -c 'error:' "$WORK/run.err") == 1)) || fail "all bad: expected one message" "$WORK/run"
  grep -q 'passed over: .*checkpoint-4' "$WORK/run.err" || fail "all bad: not each is named" "$WORK/run"
  digest "$WORK/run" | cmp -s - "$WORK/before" || fail "all bad: the folder has changed" "$WORK/run"
done
# A newer checkpoint under another one's name, and a folder, are no reason to stop either.
copy_reference
mkdir "$WORK/run/checkpoint-11.h5"
run_alone "$WORK/run" "$LOCKSTEP" -- "${RUN[@]}" resume=auto
((CODE == 0)) || fail "a folder with a checkpoint's name: exit $CODE" "$WORK/run"
echo "$FLIPS bits, $CUTS lengths of $SIZE bytes: refused, the checkpoint before was used"
