#!/usr/bin/env bash
# eval and attack of trained networks: the same output and files on any number of ranks and threads, numbers that agree
# with one another, and what is refused.
# shellcheck source-path=SCRIPTDIR source=cli.bash
source "$(dirname "$0")/cli.bash"

cat >cnn.yaml <<'END'
split: 1700
epochs: 2
batch: 64
optimizer: momentum
lr: 0.02
network:
  - conv2d: {channels: 6, pad: 1}
  - instance_norm
  - relu
  - max_pool: {kernel: 2}
  - conv2d: {channels: 8, kernel: 3, stride: 2}
  - batchnorm
  - relu
  - flatten
  - dense: {units: 10}
END
expect_success "" - train "${SMALL[@]}" epochs=4 output=bytes progress=none
expect_success "" - train "${ROW6/published/stated}" "data=$DATA" split=1700 epochs=4 output=unit progress=none
expect_success "" - train cnn.yaml "data=$DATA" output=cnn progress=none

column() { # NUMBER: of the rows of the attack in out, but those of the text above them
  awk -v c="$1" '$1 ~ /^[0-9.]+$/ {print $c}' out
}

# --- the same on any number of ranks and threads, fused or not

ways=("1 threads=1" "2 threads=1" "3 threads=2" "5 threads=1" "1 threads=2" "3 fuse=false")
for net in bytes unit cnn; do
  checkpoint=$(ls $net/checkpoint-*.h5)
  expect_success "" - eval "$checkpoint" "data=$DATA" eval_batch=77 --output $net-eval.h5
  cp out $net-eval
  expect_success "" - attack "$checkpoint" "data=$DATA" eval_batch=77 epsilon=0,0.02,0.1,0.3 --output $net-attack.h5
  cp out $net-attack
  for way in "${ways[@]}"; do
    read -r ranks key <<<"$way"
    [[ $net == bytes || $ranks == 3 ]] || continue
    expect_success "" "$ranks" eval "$checkpoint" "data=$DATA" eval_batch=77 "$key" --output again-eval.h5
    check "$net: eval on $way says the same" cmp out $net-eval
    check "$net: eval on $way writes the same" cmp again-eval.h5 $net-eval.h5
    expect_success "" "$ranks" attack "$checkpoint" "data=$DATA" eval_batch=77 epsilon=0,0.02,0.1,0.3 "$key" \
      --output again-attack.h5
    check "$net: attack on $way says the same" cmp out $net-attack
    check "$net: attack on $way writes the same" cmp again-attack.h5 $net-attack.h5
  done

  # --- numbers that agree
  cp $net-attack out
  check "$net: four rows" test "$(column 1 | tr '\n' ' ')" = "0 0.02 0.1 0.3 "
  check "$net: no perturbation, no difference" test "$(column 2 | head -n 1) $(column 3 | head -n 1)" = \
    "$(awk '/^test +[0-9]+ samples/ {print $5, $7}' $net-eval)"
  check "$net: the accuracy falls: $(column 3 | tr '\n' ' ')" test "$(column 3 | sort -r | uniq)" = "$(column 3)"
  check "$net: the loss rises: $(column 2 | tr '\n' ' ')" test "$(column 2 | sort -g | uniq)" = "$(column 2)"
  check "$net: it works" awk -v a="$(column 3 | head -n 1)" -v b="$(column 3 | tail -n 1)" 'BEGIN {exit !(b < a / 2)}'
done

# What a network in evaluation mode takes x for cannot depend on who else is in the batch.
expect_success "" - attack "$(ls bytes/checkpoint-*.h5)" "data=$DATA" eval_batch=64 epsilon=0,0.02,0.1,0.3
check "another batch, the same accuracies" test "$(column 3)" = "$(awk '$1 ~ /^[0-9.]+$/ {print $3}' bytes-attack)"

# --- what files and JSON hold

sum() { # FILE DATA_SET
  h5dump -y -w 1 -d "$2" "$1" | sed -nE 's/^ +([0-9]+),?$/\1/p' | awk '{s += $1} END {print s}'
}
check "each validation sample is counted once" test "$(sum bytes-eval.h5 /validation/confusion)" = 300
check "each test sample is counted once" test "$(sum bytes-eval.h5 /test/confusion)" = 500
check "each test sample is there" test "$(sum bytes-eval.h5 /test/sample)" = $((499 * 500 / 2))
check "ten worst mistakes of each" test "$(grep -cE '^ +[0-9]+ +[0-9] +[0-9] +[01]\.' bytes-eval)" = 20
checkpoint=$(ls bytes/checkpoint-*.h5)
expect_success "" 3 attack "$checkpoint" "data=$DATA" samples=120 examples=3 epsilon='[0, 1]' --output few.h5
check "120 samples" grep -q '^fast gradient sign method, 120 test samples$' out
check "three examples" grep -q '( 2, 3, 28, 28 )' <(h5dump -H -d /examples/adversarial few.h5)
expect_success "" 3 attack "$checkpoint" "data=$DATA" samples=120 examples=0 --output few.h5
check "no examples" grep -q '( 7, 0, 28, 28 )' <(h5dump -H -d /examples/adversarial few.h5)
for verb in eval attack; do
  expect_success "" 3 $verb "$checkpoint" "data=$DATA" --json
  cp out three.json
  expect_success "" - $verb "$checkpoint" "data=$DATA" --json
  check "$verb: the same JSON" cmp out three.json
  if command -v python3 >/dev/null; then check "$verb: it is JSON" python3 -m json.tool out; fi
done
expect_success "" - train "${SMALL[@]}" split=2000 output=whole progress=none
expect_success "" 3 eval "$(ls whole/checkpoint-*.h5)" "data=$DATA" --json --output whole.h5
check "no validation samples" grep -q '"validation": null' out
check "nor a group for them" test "$(h5dump -n whole.h5 | grep -c validation)" = 0

# --- what is refused

ln -s nowhere-at-all nowhere-link
cat bytes-attack.h5 bytes/config.yaml bytes/metrics.h5 unit/checkpoint-*.h5 | cksum >there.sums
# Everything on one process; on several, where each must end in the same way, one case of each kind.
for wrong in 0.2,0.1 0,0 x "" 0,,1 2 nan -0.1 "0.1," "0 0.1"; do
  expect_failure 2 "epsilon: found '$wrong', expected increasing numbers from 0 to 1" - \
    attack "$checkpoint" "data=$DATA" "epsilon=$wrong"
done
for there in bytes/config.yaml bytes/metrics.h5 unit/checkpoint-*.h5 nowhere-link; do
  expect_failure 73 "$there: is there already" - eval "$checkpoint" "data=$DATA" --output "$there"
done
expect_failure 2 "epsilon: found more than 64 numbers" - attack "$checkpoint" "data=$DATA" "epsilon=$(seq -s, 0 0.01 0.9)"
expect_failure 2 "examples: out of range: found '-1'" - attack "$checkpoint" "data=$DATA" examples=-1
expect_failure 2 "--force is for the file of --output" - eval "$checkpoint" "data=$DATA" --force
for ranks in - 3; do
  expect_failure 2 "attack: found 0 arguments; expected lockstep attack CHECKPOINT [epsilon=0,0.05,..] [KEY=VALUE ...]" $ranks attack
  expect_failure 78 "none.h5: cannot open: No such file" $ranks attack none.h5
  expect_failure 2 "epsilon: found '0.3,0.1', expected increasing numbers from 0 to 1" $ranks \
    attack "$checkpoint" "data=$DATA" epsilon=0.3,0.1
  expect_failure 2 "samples: found 501, expected at most the 500" $ranks attack "$checkpoint" "data=$DATA" samples=501
  expect_failure 2 "lr is the checkpoint's; attack takes data" $ranks attack "$checkpoint" "data=$DATA" lr=5
  expect_failure 2 "is what is read" $ranks attack "$checkpoint" "data=$DATA" --output "$checkpoint"
  expect_failure 2 "is what is read" $ranks eval "$checkpoint" "data=$DATA" --output "$checkpoint" --force
  expect_failure 73 "bytes-attack.h5: is there already" $ranks eval "$checkpoint" "data=$DATA" --output bytes-attack.h5
  expect_failure 73 "bytes-eval.h5: is there already" $ranks attack "$checkpoint" "data=$DATA" --output bytes-eval.h5
  expect_failure 74 "unit: is there and not a regular file" $ranks eval "$checkpoint" "data=$DATA" --output unit --force
  expect_failure 74 "nowhere/eval.h5" $ranks eval "$checkpoint" "data=$DATA" --output nowhere/eval.h5
done
check "nothing there was touched" cmp there.sums <(cat bytes-attack.h5 bytes/config.yaml bytes/metrics.h5 unit/checkpoint-*.h5 | cksum)
cp bytes/config.yaml forced.h5
expect_success "" 2 eval "$checkpoint" "data=$DATA" eval_batch=77 --output forced.h5 --force
check "a file was replaced when it was asked for" cmp forced.h5 bytes-eval.h5
# Keys that only training reads, and those of the model, are refused; what says how to run is taken.
TAKES="takes data, threads, eval_batch, timeout, device, record, comm, window, fuse and memory"
for word in epochs=3 steps=3 output=elsewhere overwrite=true test_interval=1 check_interval=1 checkpoint_interval=1 keep=1 \
  resume=auto trail_interval=1 progress=none; do
  expect_failure 2 "command line: $word: ${word%=*} is read by training alone; eval $TAKES" - eval "$checkpoint" "data=$DATA" $word
done
for word in split=3 beta1=0.5 network.2.dense.units=3 defaults.dropout.rate=0; do
  expect_failure 2 "command line: $word: ${word%%[.=]*} is the checkpoint's; attack $TAKES" - attack "$checkpoint" "data=$DATA" $word
done
expect_failure 2 "output is read by training alone; attack $TAKES" 2 attack "$checkpoint" "data=$DATA" output=elsewhere
expect_failure 2 "unknown key 'kep'; did you mean 'keep'?" - eval "$checkpoint" "data=$DATA" kep=1
expect_failure 2 "timeout: would not be read" - eval "$checkpoint" "data=$DATA" comm=self timeout=5
expect_success "" - eval "$checkpoint" "data=$DATA" threads=2 eval_batch=90 comm=self fuse=false memory=ignore
expect_success "" 2 attack "$checkpoint" "data=$DATA" threads=1 timeout=50 comm=mpi window=false samples=50
check "nothing was made elsewhere" test ! -e elsewhere
{ head -c 50000 "$checkpoint"; printf 'xyz'; tail -c +50004 "$checkpoint"; } >damaged.h5
expect_failure 78 "damaged.h5: damaged, or changed by another program: found digest" - attack damaged.h5
expect_failure 78 "damaged.h5: damaged, or changed by another program: found digest" 3 attack damaged.h5 epsilon=0.1
check "what was refused is as it was" cmp "$checkpoint" <(cat bytes/checkpoint-*.h5)
finish
