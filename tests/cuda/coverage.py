"""Do the tests of kernels run the lines of the .cu files? At least 95 % of each.

coverage.py GCOV SOURCE_FOLDER OBJECT_FOLDER: where the objects lie that were compiled with --coverage, and the counts that the
tests have left."""

import collections
import json
import pathlib
import subprocess
import sys

gcov = sys.argv[1]
source, objects = (pathlib.Path(a).resolve() for a in sys.argv[2:4])
LEAST = 95


def counts_of(path):
    """How often each line has run, by file: a template has the runs of all its instances."""
    result = subprocess.run([gcov, "--json-format", "--stdout", str(path)], cwd=objects, capture_output=True, text=True,
                            check=True)
    found = collections.defaultdict(collections.Counter)
    for document in map(json.loads, result.stdout.splitlines()):
        for file in document["files"]:
            name = pathlib.Path(document["current_working_directory"], file["file"]).resolve()
            for line in file["lines"]:
                found[name][line["line_number"]] += line["count"]
    return found


def main():
    lines = collections.defaultdict(collections.Counter)
    for path in sorted(objects.rglob("*.gcda")):
        for file, counts in counts_of(path).items():
            for number, count in counts.items():
                lines[file][number] += count
    kernels = sorted((source / "src").rglob("*.cu"))
    failed = False
    for file in kernels:
        counts = lines.get(file, {})
        missed = sorted(number for number, count in counts.items() if count == 0)
        share = 100 * (len(counts) - len(missed)) / len(counts) if counts else 0
        failed |= share < LEAST
        where = f", not lines {' '.join(map(str, missed))}" if missed else ""
        print(f"{share:5.1f} % of {len(counts)} lines of {file.relative_to(source)}{where}")
    print(f"{len(kernels)} files, expected {LEAST} % of each")
    sys.exit(failed or not kernels)


main()
