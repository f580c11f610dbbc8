#!/usr/bin/env bash
# The search for data of launch/environment.sh, on small files and on mirrors that are folders: first match, digests,
# mirrors that fail or deliver other bytes.
set -euo pipefail
command -v curl >/dev/null || { echo "skipped: no curl" && exit 77; }
# shellcheck source-path=SCRIPTDIR/../../launch source=environment.sh
source "$1/launch/environment.sh"
export LOCKSTEP_INSTALL=no
unset LOCKSTEP_DATA

rm -rf "$2"
mkdir -p "$2"
cd "$2"

expect() { # TEXT PART
  [[ $1 == *"$2"* ]] || { printf 'expected "%s" in:\n%s\n' "$2" "$1" && exit 1; }
}

write_files() { # FOLDER WORD [COMPRESSED]
  local name
  mkdir -p "$1"
  for name in "${IDX_FILES[@]}"; do
    echo "$2 $name" >"$1/$name"
    if [[ ${3:-} == gz ]]; then gzip "$1/$name"; fi
  done
}

# Stand-ins for the two known sets and for three mirrors.
write_files good mnist gz
write_files fashion clothes gz
write_files mirrors/wrong other gz
write_files mirrors/right mnist gz
mkdir mirrors/empty
MNIST_SHA256=$(idx_digests good)
FASHION_MNIST_SHA256=$(idx_digests fashion)
FASHION_MNIST_FOLDER=$PWD/fashion
MNIST_MIRRORS=("file://$PWD/mirrors/empty" "file://$PWD/mirrors/wrong" "file://$PWD/mirrors/right")

# Names go by bytes, compressed or not.
write_files plain mnist
[[ $(data_set_name plain) == MNIST ]]
[[ $(data_set_name mirrors/wrong) == unknown ]]

# The other names that the program reads: a dot before idx, and torchvision's folders.
mkdir -p dotted root/MNIST/raw
for name in "${IDX_FILES[@]}"; do
  cp "good/$name.gz" "dotted/${name/-idx/.idx}.gz"
  cp "plain/$name" "root/MNIST/raw/$name"
done
[[ $(data_set_name dotted) == MNIST && $(data_set_name root) == MNIST && $(data_set_name root/MNIST) == MNIST ]]
[[ $(find_data root) == "Data: MNIST in root" ]]
rm dotted/t10k-labels.idx1-ubyte.gz
if has_idx_files dotted; then echo "three files are taken for four" && exit 1; fi
rm -r dotted root

# Mirrors: the first two are skipped with a line each, the third fills data/mnist and leaves nothing else behind.
said=$(find_data "")
expect "$said" "mirrors/empty does not deliver train-images-idx3-ubyte.gz"
expect "$said" "mirrors/wrong delivers other bytes"
expect "$said" "Downloaded MNIST from file://$PWD/mirrors/right"
expect "$said" "Data: MNIST in data/mnist"
[[ $(ls data) == mnist ]]

# data/mnist is found before any mirror; LOCKSTEP_DATA before that; the argument before all.
[[ $(find_data "") == "Data: MNIST in data/mnist" ]]
[[ $(LOCKSTEP_DATA=mirrors/wrong find_data "") == "Data: unknown in mirrors/wrong" ]]
[[ $(LOCKSTEP_DATA=mirrors/wrong find_data fashion) == "Data: Fashion-MNIST in fashion" ]]

# A folder that was named and does not hold the files is an error, not a reason to look elsewhere.
status=0
said=$(find_data mirrors/empty 2>&1) || status=$?
((status == 78))
expect "$said" "mirrors/empty: expected the four files"

# Without data/mnist and without a good mirror: the distribution's set, and no folder left behind; without that, 78.
rm -r data/mnist mirrors/right
said=$(find_data "")
expect "$said" "Data: Fashion-MNIST in $PWD/fashion"
[[ -z $(ls data) ]]
rm -r fashion
status=0
said=$(find_data "" 2>&1) || status=$?
((status == 78))
expect "$said" "No data"

echo "search for data: passed"
