#!/usr/bin/env bash
# A gradient that overflows though the loss is finite: status 71 on any number of ranks, and the parameter's name, whoever
# has computed its gradient: dense layers over all shards at once, convolutions added over nodes, BatchNorms at their cuts.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
PYTHON=$4
"$PYTHON" -E -s -c "import h5py" 2>/dev/null || { echo "skipped: $PYTHON has no h5py"; exit 77; }

network() { # NAME LAYER..: NAME.yaml
  local name=$1
  shift
  printf 'base: %s\nclip_gradient: ignored\nnetwork:\n' "$TOP/experiments/base/mlp-published.yaml" >"$name.yaml"
  printf -- '  - %s\n' "$@" >>"$name.yaml"
}

# The step at which training ends, and the parameter that is named.
overflows() { # NAME PARAMETER STATE..
  local name=$1 parameter=$2 case
  shift 2
  "$PYTHON" -E -s "$TOP/tests/train/overflow_state.py" "$name.state.h5" "$@"
  rm -f "$name.h5"
  run - import "$name.yaml" "$name.state.h5" "$name.h5" "data=$DATA" split=1700 batch=37
  check "import: $CODE" test "$CODE" = 0
  for case in "-" "- threads=2" "2" "3 threads=2" "8" "3 window=false"; do
    # shellcheck disable=SC2086
    set -- $case
    expect_failure 71 "step 1: the gradient of $parameter is not finite (lr=0.05)" "$1" train "$name.yaml" \
      "data=$DATA" split=1700 batch=37 lr=0.05 epochs=1 progress=none resume="$name.h5" output="$name.run" "${@:2}"
    check "no checkpoint of it" test -z "$(find "$name.run" -name 'checkpoint*' 2>/dev/null)"
    rm -rf "$name.run"
  done
}

network dense flatten "dense: {units: 40, name: first}" relu "dense: {units: 20, name: second}" relu \
  "dense: {units: 10, name: third}"
overflows dense first.weight first=40x784:0x1p-120 second=20x40:0x1p100 third=10x20:0x1p100
overflows dense second.weight first=40x784:0x1p6 second=20x40:0x1p-120 third=10x20:0x1p127

network conv "conv2d: {channels: 16, stride: 2, name: first}" relu flatten "dense: {units: 20, name: second}" relu \
  "dense: {units: 10, name: third}"
overflows conv first.weight first=16x1x3x3:0x1p-120 second=20x2704:0x1p90 third=10x20:0x1p90

network norm flatten "batchnorm: {name: first, affine: true}" "dense: {units: 20, name: second}" relu "dense: {units: 10, name: third}"
overflows norm first.weight first=784 second=20x784:0x1p100 third=10x20:0x1p100

# --- a model that is not finite: no accuracy, but the tensor's name

not_a_number() { # TEXT STATE..
  local text=$1 verb ranks
  shift
  "$PYTHON" -E -s "$TOP/tests/train/overflow_state.py" broken.state.h5 "$@"
  rm -f broken.h5
  run - import dense.yaml broken.state.h5 broken.h5 "data=$DATA" split=1700 batch=37
  check "import: $CODE" test "$CODE" = 0
  for verb in eval attack; do
    for ranks in - 3; do
      expect_failure 71 "$text" "$ranks" "$verb" broken.h5 "data=$DATA" --output "broken.$verb.h5"
      check "$verb prints no accuracy" test ! -s out
      check "$verb writes none" test ! -e "broken.$verb.h5"
    done
  done
  run - inspect broken.h5
  check "inspect shows it, and no sign of NaN" test "$CODE:$(grep -c -- '-nan' out)" = 0:0
}
not_a_number "the loss is not a number: activations overflow" \
  first=40x784:0x1p100 second=20x40:0x1p100 third=10x20:0x1p100
finish
