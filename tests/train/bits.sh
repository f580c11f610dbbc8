#!/usr/bin/env bash
# The version of the bits (LS_BITS, src/train/versions.h) and the fingerprints that belong to it: whoever changes one of
# these raises that, or results of two builds would be taken for the same numbers. bits.sh --write FILE.. records them.
#
# Short runs of every kind of network, on made data, in fp32.
set -euo pipefail
shopt -s inherit_errexit
WRITE=no
if [[ $1 == --write ]]; then WRITE=yes && shift; fi
BINARY=$1 WORK=$2 DATA=$3 LIST=$4
TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/../..")
rm -rf "$WORK"
mkdir -p "$WORK"
BITS=$("$BINARY" --version | sed -n 's/^bits //p')

fingerprint() { # NAME CONFIG KEY=VALUE..
  local name=$1 config=$2
  shift 2
  "$BINARY" train "$TOP/$config" "data=$DATA" split=100 progress=none "output=$WORK/$name" "$@" |
    sed -n "s/^fingerprint /$BITS $name /p"
}
found=$(
  fingerprint mlp-published experiments/table1/row6-published.yaml batch=40 epochs=2
  fingerprint mlp-stated experiments/table1/row6-stated.yaml batch=40 epochs=2
  fingerprint sgd experiments/table1/row10-stated.yaml batch=40 epochs=2
  fingerprint resnet-published experiments/table2/row3-published.yaml batch=40 epochs=1
  fingerprint resnet-stated experiments/table2/row2-stated.yaml batch=40 epochs=1
  fingerprint cnn-inferred experiments/cnn/network3-inferred.yaml samples_per_epoch=20 epochs=2
  fingerprint cnn-stated experiments/cnn/network4-stated.yaml batch=40 epochs=2
  fingerprint layers tests/train/every_layer.yaml batch=20 steps=3 epochs=2
)
if [[ $WRITE == yes ]]; then
  echo "$found" >"$LIST"
  exit
fi
if ! diff "$LIST" <(echo "$found"); then
  echo "FAILED: fingerprints (>) are not those of $LIST (<). If that is meant, add 1 to LS_BITS (src/train/versions.h),"
  echo "say so in CHANGELOG.md, and run tests/train/bits.sh --write $BINARY $WORK $DATA $LIST"
  exit 1
fi
echo "bits $BITS: $(wc -l <"$LIST") fingerprints are as recorded"
