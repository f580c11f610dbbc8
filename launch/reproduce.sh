#!/usr/bin/env bash
# Both reports from one command: trains every cell that is not done, and writes the report of what was measured.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/reproduce.sh [--seeds N] [--only GLOB]... [OPTION]...

Trains the rows of both reports in both readings, seed by seed, each cell by a process of one rank and thread, side by side
on the cores (or GPUs) at hand; writes a result file a cell, experiments/REPORT.md and experiments/report.html. A cell that
is done is not trained again; one that was interrupted, by whatever, goes on from its last checkpoint. A cell that fails is
named, and the others go on.

  --seeds N        seeds 1 to N of each row (default 1)
  --only GLOB      rows such as table1, 'table1/row6-*', 'why/*' (experiments that explain rows); may be repeated
  --list           print the cells and stop
  --epochs N       fewer epochs than the papers'; results and report then go into runs/reproduce-short
  --set KEY=VALUE  a key for all cells; results likewise go there
  --jobs N         trainings side by side (default: one a core or GPU)
  --ranks N        ranks of each training (default 1)
  --device D       auto, cpu or cuda
  --data FOLDER    MNIST (default: LOCKSTEP_DATA, data/mnist, a download)
  --slurm          train nothing: write a job array with one task a cell
  --collect FOLDER train nothing: take the finished runs below FOLDER, CELL/seedN (from a cluster, say); --bits N says the
                   version of the bits of a build that did not record it
  --only-report    train nothing: write the report of the result files that are there
  --runs, --results, --report FOLDER    run folders, result files, the report
  --lockstep FILE  the program (default: build/release/lockstep, which is built first)

Exit code: 0, 1 a cell failed, 75 stopped by a signal (call again to go on). Environment: LOCKSTEP_INSTALL=no installs
nothing.
END
}

PROGRAM="" DATA_ARGUMENT="" TRAINS=yes WORDS=()
while (($#)); do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --lockstep) PROGRAM=$(realpath -m -- "${2:?--lockstep needs a file}") && shift ;;
    --data) DATA_ARGUMENT=$(realpath -m -- "${2:?--data needs a folder}") && shift ;;
    --list | --only-report | --slurm) WORDS+=("$1") TRAINS=no ;;
    --seeds | --only | --epochs | --set | --jobs | --ranks | --device | --bits | --cell | --collect | --runs | --results | --report)
      WORDS+=("$1" "${2:?$1 needs a value}") && shift
      ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

CALLER=$PWD
TOP=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/..")
if [[ -n ${LOCKSTEP_DATA:-} ]]; then LOCKSTEP_DATA=$(realpath -m -- "$LOCKSTEP_DATA"); fi
cd "$TOP"
# shellcheck source-path=SCRIPTDIR source=environment.sh
source launch/environment.sh
if [[ $TRAINS == yes ]]; then
  install_packages "${BUILD_PACKAGES[@]}" "${PLOT_PACKAGES[@]}" "${REPORT_PACKAGES[@]}"
  find_data "$DATA_ARGUMENT"
  if [[ -z $PROGRAM ]]; then build release --target lockstep; fi
  WORDS+=(--data "$(realpath -- "$DATA")")
else
  if [[ -n $DATA_ARGUMENT ]]; then WORDS+=(--data "$DATA_ARGUMENT"); fi
  install_packages "${PLOT_PACKAGES[@]}" "${REPORT_PACKAGES[@]}"
fi
mpi_environment
cd "$CALLER"
# -E -s: nothing of the user's own Python packages, which may be built for another Python.
exec "$PYTHON" -E -s "$TOP/experiments/reproduction/reproduce.py" --lockstep "${PROGRAM:-$TOP/build/release/lockstep}" "${WORDS[@]}"
