#!/usr/bin/env bash
# Every shell script of the project parses, passes shellcheck where that is installed, and explains itself.
set -euo pipefail
cd "$1" # top folder of the sources

scripts=(launch/*.sh launch/*.sbatch tests/*.sh tests/*/*.sh tests/*/*.bash .ci/run)
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  shellcheck -x "${scripts[@]}"
else
  echo "shellcheck is not installed: only parsed"
fi

for script in launch/quickstart.sh launch/test.sh launch/run.sh launch/verify.sh launch/gpu-check.sh launch/reproduce.sh launch/doctor.sh; do
  [[ $("$script" --help) == "usage: $script"* ]]
  status=0
  "$script" --no-such-option >/dev/null 2>&1 || status=$?
  ((status == 2)) || { echo "$script --no-such-option: exit $status, expected 2" && exit 1; }
done
echo "${#scripts[@]} scripts: passed"
