#!/usr/bin/env bash
# examples/classify.c as a stranger builds it, with pkg-config, and as tests/consumer did with find_package: both load a
# model that the installed program has trained, and get as many images right as its evaluation.
# classify.sh PREFIX CONSUMER_BUILD WORK_FOLDER DATA SOURCES COMPILER FLAGS
set -euo pipefail
PREFIX=$1 CONSUMER=$2 WORK=$3 DATA=$4 SOURCES=$5 COMPILER=$6 FLAGS=$7
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"

PKG_CONFIG_PATH=$(dirname "$(find "$PREFIX" -name lockstep.pc)"):${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
# shellcheck disable=SC2046,SC2086 # words of their own
"$COMPILER" -Wall -Wextra -Werror $FLAGS "$SOURCES/examples/classify.c" $(pkg-config --cflags --libs lockstep) -o classify

"$PREFIX/bin/lockstep" train "$SOURCES/experiments/table1/row6-published.yaml" "data=$DATA" split=1700 epochs=1 output=run \
  >train.log 2>&1 || { cat train.log && exit 1; }
CHECKPOINT=$(echo run/checkpoint-*.h5)
# "test  500 samples  loss 0.1  accuracy 0.9860 +- .."
RIGHT=$("$PREFIX/bin/lockstep" eval "$CHECKPOINT" "data=$DATA" | awk '$1 == "test" && $3 == "samples" { printf "%.0f of %d are right", $2 * $7, $2 }')

check() { # PROGRAM
  local said code=0
  said=$("$1" "$CHECKPOINT" "$DATA" 3)
  [[ $said == "image 3: a "*", taken for "*$'\n'"$RIGHT" ]] || { printf '%s: found\n%s\nexpected %s\n' "$1" "$said" "$RIGHT" && exit 1; }
  said=$("$1" nowhere.h5 "$DATA" 3 2>&1) || code=$?
  [[ $code == 78 && $said == *nowhere.h5* ]] || { printf '%s: exit %d with %s\n' "$1" "$code" "$said" && exit 1; }
}
check ./classify
check "$CONSUMER/classify"
echo "classify: passed ($RIGHT)"
