#!/usr/bin/env bash
# Checkpoints, metrics and what eval and attack wrote, changed so that HDF5 should fail and sealed again: none ends
# more than its own reading, and resume=auto goes on with the checkpoint before.
#
#   hostile.sh BINARY TEST_HOSTILE WORK_FOLDER DATA_FOLDER
set -euo pipefail

BINARY=$1 HOSTILE=$2 WORK=$3 DATA=$4

fail() {
  echo "FAILED: $*"
  exit 1
}

rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"
cat >tiny.yaml <<'YAML'
split: 640
steps: 20
batch: 64
lr: 0.01
checkpoint_interval: 10
trail_interval: 5
comm: self
progress: none
network: [flatten, {dense: {units: 12}}, batchnorm, relu, {dense: {units: 10}}]
YAML

{
  "$BINARY" train tiny.yaml data="$DATA" output=run
  "$BINARY" eval run/checkpoint-20.h5 data="$DATA" comm=self --output evaluation.h5
  "$BINARY" attack run/checkpoint-20.h5 data="$DATA" comm=self epsilon=0,0.1 --output attack.h5
} >made 2>&1 || fail "$(cat made)"

"$HOSTILE" 80 "$WORK"/run/checkpoint-20.h5 "$WORK"/run/metrics.h5 "$WORK"/evaluation.h5 "$WORK"/attack.h5

# The values of the newest checkpoint are not what HDF5 wrote: it opens, but does not pass for one to resume from.
cp run/checkpoint-20.h5 damaged.h5
chmod u+w damaged.h5
"$HOSTILE" values "$WORK"/damaged.h5
mv -f damaged.h5 run/checkpoint-20.h5
status=0
"$BINARY" inspect run/checkpoint-20.h5 >said 2>&1 || status=$?
[[ $status == 78 ]] || fail "a changed value: exit code $status, expected 78: $(cat said)"
"$BINARY" train tiny.yaml data="$DATA" output=run resume=auto >said 2>&1 || fail "resume=auto: $(cat said)"
grep -q "passed over: run/checkpoint-20.h5: HDF5: " said || fail "resume=auto does not say what it passed over: $(cat said)"
"$BINARY" inspect run/checkpoint-20.h5 >said 2>&1 || fail "the run did not write its checkpoint again: $(cat said)"
echo "resume=auto passed over a checkpoint whose values had changed"
