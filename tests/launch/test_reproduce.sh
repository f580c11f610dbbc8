#!/usr/bin/env bash
# launch/reproduce.sh's program on made data: killed twice at random and called again it leaves the results and the report
# of a call that nobody disturbs; what is done is not done again; failures are named; runs are collected.
set -euo pipefail
TOP=$1 WORK=$2 BINARY=$3 DATA=$4 PYTHON=$5
"$PYTHON" -E -s -c "import h5py, jinja2, matplotlib, scipy" 2>/dev/null || { echo "skipped: $PYTHON lacks a package"; exit 77; }
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"
RANDOM=$$
fail() {
  echo "FAILED: $*"
  tail -n 20 ./*.log
  exit 1
}
# Table 1: 22 rows, 2 seeds each.
command_for() { # FOLDER ARGUMENTS..: into COMMAND, so that a signal meets the program and no shell around it
  local folder=$1
  shift
  COMMAND=("$PYTHON" -E -s -B "$TOP/experiments/reproduction/reproduce.py" --lockstep "$BINARY" --data "$DATA" --epochs 2
    --set split=500 --set eval_batch=500 --jobs 2 --runs "$folder" --results "$folder/results" --report "$folder" "$@")
}
reproduce() {
  command_for "$@"
  "${COMMAND[@]}"
}
# Results without what depends on the machine and the time.
plain() { # FOLDER
  (cd "$1/results" && find . -name '*.json' | sort | while read -r file; do echo "$file" && grep -v '^"provenance"' "$file"; done)
}
# The report up to the times.
report() {
  sed '/^## What was run, on what, how long/,$d' "$1/REPORT.md"
}

start=$SECONDS
reproduce whole --only table1 --seeds 2 >whole.log 2>&1 || fail "the undisturbed call: exit $?"
took=$((SECONDS - start + 1))
[[ $(find whole/results -name '*.json' | wc -l) == 44 ]] || fail "$(find whole/results -name '*.json' | wc -l) results, expected 44"
[[ $(grep -c ': done (' whole.log) == 44 ]] || fail "not a line for each cell"

for how in KILL TERM; do
  command_for killed --only table1 --seeds 2
  "${COMMAND[@]}" >"killed-$how.log" 2>&1 &
  pid=$!
  sleep "$((RANDOM % took / 3)).$((RANDOM % 10 + 1))"
  kill "-$how" "$pid" 2>/dev/null || echo "it was done before it could be killed by $how"
  code=0
  wait "$pid" || code=$?
  echo "$how: exit $code with $(find killed/results -name '*.json' 2>/dev/null | wc -l) results"
  # Before its first word it is ended by the signal as any program is.
  [[ $how != TERM || $code == 75 || $code == 0 || ($code == 143 && ! -s killed-TERM.log) ]] ||
    fail "SIGTERM: exit $code, expected 75"
done
reproduce killed --only table1 --seeds 2 >killed.log 2>&1 || fail "the call after two kills: exit $?"
cmp <(plain whole) <(plain killed) || fail "other results after two kills"
cmp <(report whole) <(report killed) || fail "another report after two kills"
[[ $(find killed/results -type f ! -name '*.json') == "" ]] || fail "parts of files are left"

# Once more: nothing is trained.
before=$(find killed -name 'checkpoint-*' -printf '%p %i %T@\n' | sort)
reproduce killed --only table1 --seeds 2 >again.log 2>&1 || fail "the call with nothing to do: exit $?"
[[ $(grep -c 'done before' again.log) == 44 ]] || fail "not all cells are known as done"
[[ $(find killed -name 'checkpoint-*' -printf '%p %i %T@\n' | sort) == "$before" ]] || fail "something was trained again"
# Of another configuration nothing is done.
reproduce killed --only table1/row1-stated --set batch=100 --results other >other.log 2>&1 && fail "a run folder of another configuration was taken"
grep -q 'batch: 256' other.log || fail "the key that differs is not named"

# A cell that fails is named, and the other goes on.
code=0
reproduce failing --only 'table1/row1-*' --only table1/row10-stated --set momentum=0.5 --set optimizer=momentum --set lr=1e30 \
  >failing.log 2>&1 || code=$?
[[ $code == 1 ]] || fail "failing cells: exit $code, expected 1"
grep -q '^failed: table1/row1-stated/seed1$' failing.log || fail "the failed cell is not named"

# Collected elsewhere.
reproduce whole --collect whole --results collected >collect.log 2>&1 || fail "--collect: exit $?"
mkdir -p gathered && mv collected gathered/results
cmp <(plain whole) <(plain gathered) || fail "collected results are others"

# A job array has a task a cell.
reproduce slurm --only table1 --seeds 2 --slurm >slurm.log 2>&1 || fail "--slurm: exit $?"
bash -n slurm/array.sbatch
grep -q '^#SBATCH --array=1-44$' slurm/array.sbatch || fail "not 44 tasks"
[[ $(wc -l <slurm/cells.txt) == 44 ]] || fail "not 44 names"
reproduce slurm --cell "$(sed -n 3p slurm/cells.txt)" >cell.log 2>&1 || fail "--cell: exit $?"
[[ $(find slurm/results -name '*.json' | wc -l) == 1 ]] || fail "--cell did not do one cell"

# And a result file is enough to check it.
drawn=$(find whole/results -name '*.json' | sort | sed -n "$((RANDOM % 44 + 1))p")
"$BINARY" audit "$drawn" "data=$DATA" >audit.log 2>&1 || fail "audit $drawn: exit $?"
cat audit.log
"$PYTHON" -E -s - whole/report.html >figures.log 2>&1 <<'END' || fail "a figure of the page is broken"
import re, sys, urllib.parse, xml.dom.minidom
page = open(sys.argv[1], encoding="utf-8").read()
sources = re.findall(r'<img alt="[^"]+" src="data:image/svg\+xml,([^"]*)"', page)
for source in sources:
    xml.dom.minidom.parseString(urllib.parse.unquote(source).encode())
print(len(sources), "figures")
assert len(sources) > 10 and len(sources) == page.count("<img")
END
! grep -qE '(src|href)="(https?:)?//' whole/report.html || fail "the page looks into the network"
echo passed
