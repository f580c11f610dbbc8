#!/usr/bin/env bash
# Damaged and unfit data through the whole program, on one rank and on three: exit code 78, one message with the file.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
MAKE_IDX=$4

"$MAKE_IDX" good 60 20 9 13 3 1
"$MAKE_IDX" packed 60 20 9 13 3 1 --gz
"$MAKE_IDX" other 60 20 13 9 3 1
"$MAKE_IDX" large 200 50
printf 'seed: 1\nsplit: 50\nepochs: 1\nbatch: 16\nnetwork:\n  - flatten\n  - dense: {units: 3}\n' >small.yaml

# A copy of a set with one file replaced by what comes from standard input.
damaged() { # FROM FILE
  rm -rf bad
  cp -r "$1" bad
  cat >"bad/$2"
}
byte() { printf "%b" "\\x$1"; }
refused() { # TEXT
  local ranks
  for ranks in - 3; do
    expect_failure 78 "$1" $ranks train small.yaml data=bad output=run
    check "no run was begun" test ! -e run
  done
}

IMAGES=train-images-idx3-ubyte LABELS=train-labels-idx1-ubyte
head -c 100 good/$IMAGES | damaged good $IMAGES
refused "bad/$IMAGES"
{ byte 08; tail -c +2 good/$IMAGES; } | damaged good $IMAGES
refused "bad/$IMAGES"
{ cat good/$IMAGES; byte 00; } | damaged good $IMAGES
refused "bad/$IMAGES"
head -c 67 good/$LABELS | damaged good $LABELS
refused "bad/$LABELS"
: | damaged good $LABELS
refused "bad/$LABELS"
# the trailer of a gzip file: CRC and length
{ head -c -8 packed/$IMAGES.gz; printf '12345678'; } | damaged packed $IMAGES.gz
refused "bad/$IMAGES.gz"
{ cat packed/$IMAGES.gz; byte 00; } | damaged packed $IMAGES.gz
refused "bad/$IMAGES.gz"
head -c 40 packed/$LABELS.gz | damaged packed $LABELS.gz
refused "bad/$LABELS.gz"
# 61 labels, rightly announced, for 60 images
{ head -c 7 good/$LABELS; byte 3d; tail -c +9 good/$LABELS; byte 01; } | damaged good $LABELS
refused "$LABELS"
# test images of another size than those trained on
damaged good t10k-images-idx3-ubyte <other/t10k-images-idx3-ubyte
refused "t10k-images"
rm bad/t10k-images-idx3-ubyte
refused "bad/t10k-images-idx3-ubyte: missing"

for ranks in - 3; do
  expect_failure 78 "/nonexistent: no data set is found there" $ranks train small.yaml data=/nonexistent output=run
  expect_failure 2 "command line: split=61: split: found 61, expected at most the 60 training samples in good" $ranks train small.yaml data=good split=61 output=run
  sed 's/^split: .*/split: 62/' small.yaml >wide.yaml
  expect_failure 2 "wide.yaml:2:8: split: found 62, expected at most the 60 training samples in good" $ranks \
    train wide.yaml data=good output=run
done
expect_failure 2 "the last layer gives 3; expected 10, the classes of the data" - train small.yaml data=large output=run
expect_failure 2 "split=-1" - train small.yaml data=good split=-1 output=run
check "no run was begun" test ! -e run

# --- what is unusual but right

expect_success "" - train small.yaml data=good output=plain
check "a fingerprint" test -n "$(fingerprint)"
REFERENCE=$(fingerprint)
expect_success "" 3 train small.yaml data=packed output=packed-run
check "the same from gzip files on three ranks" test "$(fingerprint)" = "$REFERENCE"
LOCKSTEP_DATA=good expect_success "" - train small.yaml output=found
check "the same from LOCKSTEP_DATA" test "$(fingerprint)" = "$REFERENCE"
finish
