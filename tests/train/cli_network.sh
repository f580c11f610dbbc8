#!/usr/bin/env bash
# Networks that cannot be, or cannot be trained on some batch of the run: refused before any image is read, with file, line,
# layer and shapes, exit code 2, by a dry run, by training and by inspect. What can be is reported.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"
PYTHON=$4

# The images are 28x28 in 10 classes, as MNIST's.
refused() { # TEXT NETWORK
  printf 'seed: 1\nsplit: 50\nnetwork:\n%s\n' "$2" >bad.yaml
  expect_failure 2 "$1" - train bad.yaml --dry-run data=none
  expect_failure 2 "$1" - inspect bad.yaml
  expect_failure 2 "$1" - train bad.yaml data="$DATA" output=run
  check "no run was begun" test ! -e run
}

refused 'bad.yaml:4:5: layer 0: the last layer gives 28x28x1; expected 10' '  - relu'
refused 'bad.yaml:5:5: layer 1: conv2d of 784: expected height x width x channels' \
  $'  - flatten\n  - conv2d: {channels: 3}\n  - dense: {units: 10}'
refused "bad.yaml:4:5: unknown layer 'conv3d'; did you mean 'conv2d'?" '  - conv3d: {channels: 3}'
refused "bad.yaml:4:35: conv2d.stride: out of range: found '0'" '  - conv2d: {channels: 3, stride: 0}'
refused 'layer 0: conv2d of 28x28x1: a kernel of 29 with pad 0 does not fit' '  - conv2d: {channels: 3, kernel: 29}'
refused "conv2d.channels: out of range: found '1000000', expected an integer from 1 to 65536" \
  '  - conv2d: {channels: 1000000}'
refused 'bad.yaml:4:33: layer 1: gives 28x28x65536' '  - repeat: {times: 9, layers: [{conv2d: {channels: 65536, pad: 1}}]}'
refused 'layer 0.body.0: max_pool' '  - residual: {body: [{max_pool: {kernel: 30}}]}'
refused 'max_pool' '  - max_pool: {kernel: 2, stride: 0}'
refused 'bad.yaml:4:5: layer 0: residual of 28x28x1: the body gives 28x28x3, the shortcut 28x28x1; expected the same shape' \
  '  - residual: {body: [{conv2d: {channels: 3, pad: 1}}]}'
refused 'bad.yaml:4:26: sequential.layers: found no layers, expected at least 1' '  - sequential: {layers: []}'
refused 'layers nested deeper than 16 levels' \
  "  - $(for _ in {1..17}; do printf '{sequential: {layers: ['; done)relu$(for _ in {1..17}; do printf ']}}'; done)"
refused "repeat.times: out of range: found '1000000000', expected an integer from 1 to 4096" \
  '  - repeat: {times: 1000000000, layers: [relu]}'
refused 'more than 4096 layers' '  - repeat: {times: 4096, layers: [{repeat: {times: 4096, layers: [relu]}}]}'
refused 'network: no layers; expected a list of at least one' '  []'
refused 'layer 1: instance_norm of 1x1x3: expected planes of more than one pixel' \
  $'  - conv2d: {channels: 3, kernel: 28}\n  - instance_norm\n  - flatten\n  - dense: {units: 10}'
refused 'bad.yaml:6:5: layer 2: the last layer gives 11' $'  - flatten\n  - relu\n  - dense: {units: 11}'

# A BatchNorm over one value a channel learns nothing, in any batch that a run comes to.
cat >one.yaml <<'YAML'
seed: 1
split: 50
network:
  - flatten
  - dense: {units: 5}
  - batchnorm
  - dense: {units: 10}
YAML
alone() { # TEXT OVERRIDES..
  local text="one.yaml:6:5: layer 2: batchnorm of 5: a training batch of 1 sample has one value a channel, which is its own mean; expected at least 2 ($1)"
  shift
  expect_failure 2 "$text" - train one.yaml --dry-run data=none "$@"
  expect_failure 2 "$text" - train one.yaml data="$DATA" output=run "$@"
  check "no run was begun" test ! -e run
}
accepted() { # OVERRIDES..
  run - train one.yaml --dry-run data=none "$@"
  check "$* is accepted" test "$CODE" == 0
}
alone 'batch=1' batch=1
alone 'the last batch of an epoch: samples 50, batch=49' batch=49
alone 'the last batch of an epoch: samples 50, batch=7' batch=7 steps=8
alone 'the last batch of an epoch: samples 1, batch=4' batch=4 samples_per_epoch=1
alone 'the last batch of an epoch: samples 33, batch=32' batch=32 samples_per_epoch=33
alone 'the last batch of the collection of statistics: samples 50, batch=7' batch=7 samples_per_epoch=14 \
  defaults.batchnorm.statistics=dataset
accepted batch=7 samples_per_epoch=14
accepted batch=7 steps=7
accepted batch=48
accepted batch=7 network.2='{residual: {body: [relu]}}'
accepted batch=1 'network=[batchnorm, {conv2d: {channels: 3, kernel: 27}}, batchnorm, flatten, {dense: {units: 10}}]'
expect_failure 2 'layer 1.body.0: batchnorm of 1x1x3: a training batch of 1 sample' - train one.yaml --dry-run data=none batch=7 \
  'network=[{conv2d: {channels: 3, kernel: 28}}, {residual: {body: [batchnorm]}}, flatten, {dense: {units: 10}}]'
# Evaluation has the statistics of training: one sample is as good as many.
run - train one.yaml data="$DATA" output=evaluated batch=25 steps=1 eval_batch=1
check "evaluated one by one" test "$CODE" == 0

# On three ranks it is told once. A command line is a place, too.
expect_failure 2 'layer 2: the last layer gives 11' 3 train bad.yaml data="$DATA" output=run
expect_failure 2 'command line: network.3={conv2d: {channels: 2}}: layer 3: conv2d of 600' - train "$ROW6" --dry-run \
  'network.3={conv2d: {channels: 2}}'

run - inspect "$TOP/experiments/table2/row1-stated.yaml" data="$DATA" batch=40
check "the ResNet is reported" test "$CODE" == 0
check "with its parameters" grep -q '^all, FLOP of one sample *173850 *40367872 *120877824$' out
check "and names" grep -q '^    layer1.0.conv1 *conv2d *28x28x16 *2304 *3612672 *10838016$' out
check "and data" grep -q "in 10 classes, those of $DATA" out
check "and memory of 16 ranks" grep -Eq '^ +16 +2\.0 ' out
mv out resnet.txt
run - inspect --json "$TOP/experiments/table2/row1-stated.yaml" data="$DATA" batch=40
mv out resnet.json
check "and the same as JSON" "$PYTHON" -E -s -B "$TOP/tests/train/check_network.py" resnet.json resnet.txt 173850
touch out
expect_failure 2 'layer 2: the last layer gives 11' - inspect --json bad.yaml
check "nothing but the message" test ! -s out
run - inspect "$ROW6" data=none
check "row 6 has 532,110" grep -q '^all, FLOP of one sample *532110 ' out
check "on assumed data" grep -q 'images of 28x28x1 in 10 classes, assumed' out

finish
