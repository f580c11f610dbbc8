#!/usr/bin/env bash
# From a bare machine to a trained network: installs, builds, finds data, trains, and sets the result beside the paper.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/quickstart.sh [data=FOLDER] [KEY=VALUE ...]

Installs what is missing from the packages of Debian 12 or Ubuntu 24.04, builds build/release/lockstep, trains row 6 of
the paper's Table 1 on two ranks, and ends with the measured values beside the paper's and a picture of the history.
About two minutes on two cores once the packages are there. Safe to run again: it replaces only runs/quickstart.

  data=FOLDER     the four MNIST files, plain or .gz; default: LOCKSTEP_DATA, data/mnist, a download of MNIST (kept in
                  data/mnist), or the distribution's Fashion-MNIST
  KEY=VALUE       any key of the configuration, for example epochs=2 or seed=7 (lockstep --keys)

Environment: LOCKSTEP_RANKS=N ranks instead of 2; LOCKSTEP_INSTALL=no never installs anything; LOCKSTEP_DATA=FOLDER.
END
}

CONFIG=experiments/table1/row6-published.yaml

# Sorts the arguments into data, output and the rest. Paths are the caller's: made absolute before the cd below.
read_arguments() {
  DATA_ARGUMENT="" OUTPUT=runs/quickstart SETTINGS=()
  local argument
  for argument in "$@"; do
    case $argument in
      -h | --help) usage && exit 0 ;;
      data=*) DATA_ARGUMENT=$(realpath -m -- "${argument#data=}") ;;
      output=*) OUTPUT=$(realpath -m -- "${argument#output=}") ;;
      [a-z]*=*) SETTINGS+=("$argument") ;;
      *) usage >&2 && exit 2 ;;
    esac
  done
  if [[ -n ${LOCKSTEP_DATA:-} ]]; then LOCKSTEP_DATA=$(realpath -m -- "$LOCKSTEP_DATA"); fi
}

train() {
  # Only the default folder is ours to replace.
  local overwrite=()
  if [[ $OUTPUT == runs/quickstart && ${SETTINGS[*]} != *overwrite=* ]]; then overwrite=(overwrite=true); fi
  mpirun -n "${LOCKSTEP_RANKS:-2}" build/release/lockstep train "$CONFIG" \
    "data=$DATA" "output=$OUTPUT" "${overwrite[@]}" "${SETTINGS[@]}" </dev/null
}

# -E -s: nothing of the user's own Python packages, which may be built for another Python.
show() {
  local shown # as seen from where the caller stands
  shown=$(realpath --relative-to="$OLDPWD" -- "$OUTPUT")
  echo
  "$PYTHON" -E -s experiments/report.py "$OUTPUT"
  "$PYTHON" -E -s experiments/figures.py history "$OUTPUT" >/dev/null
  echo
  echo "Run:      $shown"
  echo "Picture:  $shown/history.png"
}

read_arguments "$@"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source-path=SCRIPTDIR source=environment.sh
source launch/environment.sh
install_packages "${BUILD_PACKAGES[@]}" "${PLOT_PACKAGES[@]}"
find_data "$DATA_ARGUMENT"
build release --target lockstep
mpi_environment
train
show
